"""The source that the clients train and serve: a job of so many seconds, and a model that answers at once."""

import argparse
import os
import time

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float)
    seconds = parser.parse_args().seconds
    for number in range(int(seconds)):
        print("second", number + 1, flush=True)
        time.sleep(seconds / int(seconds))
    with open(os.path.join(os.environ["SM_MODEL_DIR"], "model.txt"), "w") as file:  # noqa: PTH118, PTH123
        file.write("0.5")


def model_fn(folder: str) -> str:
    return "0.5"


def input_fn(body: object, content_type: str) -> str:
    return str(body)


def predict_fn(data: str, model: str) -> str:
    return "\n".join(model for _ in data.split()) + "\n"


def output_fn(answer: str, accept: str) -> tuple[str, str]:
    return answer, "text/csv"
