"""The sources that the journeys of the SDKs train, serve and process with: what a person has in a folder beside a notebook."""

from pathlib import Path

TRAIN_SKLEARN = """
import argparse
import os

import joblib
import pandas as pd
from sklearn.linear_model import LogisticRegression

from columns import LABEL

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--max_iter", type=int, default=100)
    parser.add_argument("--output-data-dir", type=str, default=os.environ["SM_OUTPUT_DATA_DIR"])
    parser.add_argument("--model-dir", type=str, default=os.environ["SM_MODEL_DIR"])
    parser.add_argument("--train", type=str, default=os.environ["SM_CHANNEL_TRAIN"])
    args = parser.parse_args()
    files = [os.path.join(args.train, name) for name in os.listdir(args.train)]
    table = pd.concat([pd.read_csv(file, header=None) for file in files])
    model = LogisticRegression(max_iter=args.max_iter).fit(table.drop(columns=LABEL), table[LABEL])
    print(f"train:accuracy={model.score(table.drop(columns=LABEL), table[LABEL]):.4f};")
    joblib.dump(model, os.path.join(args.model_dir, "model.joblib"))


def model_fn(model_dir):
    return joblib.load(os.path.join(model_dir, "model.joblib"))
"""

TRAIN_XGBOOST = """
import argparse
import os
import pickle

import xgboost as xgb
from sagemaker_xgboost_container.data_utils import get_dmatrix

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--max_depth", type=int)
    parser.add_argument("--num_round", type=int)
    args, _ = parser.parse_known_args()
    train = get_dmatrix(os.environ["SM_CHANNEL_TRAIN"], "csv")
    booster = xgb.train(
        {"max_depth": args.max_depth, "objective": "binary:logistic"}, train, num_boost_round=args.num_round
    )
    with open(os.path.join(os.environ["SM_MODEL_DIR"], "xgboost-model"), "wb") as file:
        pickle.dump(booster, file)


def model_fn(model_dir):
    with open(os.path.join(model_dir, "xgboost-model"), "rb") as file:
        return pickle.load(file)
"""

PROCESS = """
import argparse
import os

import pandas as pd

parser = argparse.ArgumentParser()
parser.add_argument("--rows", type=int)
rows = parser.parse_args().rows
table = pd.read_csv("/opt/ml/processing/input/table.csv", header=None)
os.makedirs("/opt/ml/processing/train", exist_ok=True)
table.head(rows).to_csv("/opt/ml/processing/train/part.csv", header=False, index=False)
print("kept", rows, "of", len(table))
"""


def write(folder: Path) -> Path:
    """Put them into ``folder / "source"``; gives that."""
    source = folder / "source"
    source.mkdir()
    (source / "train.py").write_text(TRAIN_SKLEARN)
    (source / "columns.py").write_text("LABEL = 0\n")
    (source / "requirements.txt").write_text("stagedoor-probe==1.0\n")
    (folder / "boost.py").write_text(TRAIN_XGBOOST)
    (folder / "process.py").write_text(PROCESS)
    (source / "process.py").write_text(
        PROCESS.replace("import pandas", "import columns, stagedoor_probe\nimport pandas")
    )
    return source
