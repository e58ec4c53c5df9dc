"""A finished linear model as the scikit-learn estimator that says the same.

Place in the flow: the last step of ``linear_learner_training``; people open the file with ``joblib.load``.
"""

from typing import Any

import numpy as np
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.svm import LinearSVC

from stagedoor.worker.algorithms.linear_models import FinishedModel


def estimator(model: FinishedModel, predictor_type: str) -> Any:
    """LogisticRegression, LinearSVC (hinge loss) or LinearRegression, as if it had been fitted itself.

    Its ``predict`` of two classes uses the threshold one half (or a margin of 0), not the calibrated one.
    """
    coefficients = np.ascontiguousarray(model.weights.T)
    fitted: dict[str, Any] = {"n_features_in_": model.weights.shape[0]}
    if predictor_type == "regressor":
        found: Any = LinearRegression()
        fitted |= {"coef_": coefficients[0], "intercept_": float(model.bias[0])}
    else:
        found = LinearSVC() if model.loss_name == "hinge_loss" else LogisticRegression()
        classes = np.arange(max(2, len(coefficients)))
        fitted |= {
            "coef_": coefficients,
            "intercept_": model.bias,
            "classes_": classes,
            "n_iter_": np.array([0]),
        }
    for name, value in fitted.items():
        setattr(found, name, value)
    return found
