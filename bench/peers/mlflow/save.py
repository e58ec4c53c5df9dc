"""Save the MLflow model that ``mlflow models serve`` serves: ``python -m bench.peers.mlflow.save FOLDER``."""

import sys

import mlflow

if __name__ == "__main__":
    mlflow.pyfunc.save_model(sys.argv[1], python_model="bench/peers/mlflow/scorer.py", pip_requirements=[])
