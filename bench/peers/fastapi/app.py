"""FastAPI behind uvicorn (uvloop, httptools): what a careful engineer writes by hand."""

from bench.peers.boosters import Boosters, csv_of, json_of
from fastapi import FastAPI, Request, Response

boosters = Boosters()
app = FastAPI()


@app.post("/review")
async def review(request: Request) -> Response:
    return Response(csv_of(boosters.review_csv(await request.body())), media_type="text/csv")


@app.post("/row")
async def row(request: Request) -> Response:
    return Response(json_of(boosters.row_json(await request.body())), media_type="application/json")
