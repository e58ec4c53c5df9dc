"""What the job makes: names and parameters, decided before anything is done."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

HYPERPARAMETERS = {
    "objective": "binary:logistic",
    "num_round": "600",
    "early_stopping_rounds": "50",
    "eval_metric": "error,logloss",
    "tree_method": "hist",
    "max_depth": "6",
    "eta": "0.15",
    "gamma": "0.5",
    "subsample": "0.7",
    "colsample_bytree": "0.2",
    "seed": "1",
}
"""Of SageMaker's XGBoost algorithm; training stops early once 50 more trees made nothing better."""

INSTANCE_TYPE = "ml.m5.large"
STAGE = "prod"
RESOURCE = "verdict"


@dataclass(frozen=True, slots=True)
class Plan:
    """Names of everything that is made; those that depend on data and hyperparameters carry their digest."""

    prefix: str
    data_bucket: str
    page_bucket: str
    data_digest: str
    training_digest: str
    given_role: str | None = None
    """ARN of an existing role for SageMaker; None: one is made."""
    keep_data_bucket: bool = False
    """The data bucket was the user's before, so it is never deleted."""

    @property
    def data_prefix(self) -> str:
        return f"{self.prefix}/data-{self.data_digest}"

    @property
    def training_job(self) -> str:
        return f"{self.prefix}-{self.training_digest}"

    @property
    def model(self) -> str:
        return f"{self.prefix}-{self.training_digest}"

    @property
    def endpoint_config(self) -> str:
        return f"{self.prefix}-{self.training_digest}"

    @property
    def endpoint(self) -> str:
        return self.prefix

    @property
    def function(self) -> str:
        return self.prefix

    @property
    def api(self) -> str:
        return self.prefix

    @property
    def sagemaker_role(self) -> str:
        return f"{self.prefix}-sagemaker"

    @property
    def function_role(self) -> str:
        return f"{self.prefix}-function"


def digest_of(*parts: bytes) -> str:
    """Ten hexadecimal digits that change when any part does."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(len(part).to_bytes(8, "big") + part)
    return whole.hexdigest()[:10]


def digest_of_training(data_digest: str, image: str) -> str:
    return digest_of(
        data_digest.encode(), image.encode(), json.dumps(HYPERPARAMETERS, sort_keys=True).encode()
    )
