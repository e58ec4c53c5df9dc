"""FastAPI behind uvicorn: the same booster, and the same reader of the row, as stagedoor's model worker uses."""

import os

import xgboost
from fastapi import FastAPI, Request, Response

from stagedoor.worker.algorithms import csv_rows

booster = xgboost.Booster()
booster.load_model(os.environ["BENCH_MODEL"])
booster.set_param({"nthread": 1})
app = FastAPI()


@app.post("/invocations")
async def invocations(request: Request) -> Response:
    rows = csv_rows.read_csv(await request.body())
    scores = booster.inplace_predict(rows)
    return Response(",".join(map(str, scores.tolist())), media_type="text/csv")
