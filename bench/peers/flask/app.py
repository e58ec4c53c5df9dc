"""Flask behind gunicorn: two processes with threads, which keep connections open (plain workers close each)."""

from bench.peers.boosters import Boosters, csv_of, json_of
from flask import Flask, Response, request

boosters = Boosters()
app = Flask(__name__)


@app.post("/review")
def review() -> Response:
    return Response(csv_of(boosters.review_csv(request.get_data())), mimetype="text/csv")


@app.post("/row")
def row() -> Response:
    return Response(json_of(boosters.row_json(request.get_data())), mimetype="application/json")
