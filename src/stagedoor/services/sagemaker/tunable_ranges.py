"""Whether an algorithm lets the ranges of a tuning job be tuned: its specification of hyperparameters, as AWS registers it.

Place in the flow: CreateHyperParameterTuningJob asks for each definition of training jobs, so that no trial fails for a range. The
hyperparameters of a script are its own affair.
"""

from collections.abc import Iterable

from stagedoor.services.sagemaker.names import validation
from stagedoor.worker.algorithms.failures import ClientError
from stagedoor.worker.algorithms.hyperparameters import Hyperparameter
from stagedoor.worker.algorithms.specification import Specification
from stagedoor.worker.tuning.space import Parameter, Space


def check(space: Space, algorithm: Specification) -> None:
    """ValidationException names the hyperparameter that is unknown, not tunable, or has a range beyond the allowed one."""
    for parameter in space.parameters:
        found = algorithm.hyperparameters.find(parameter.name)
        if found is None:
            raise validation(
                f"The hyperparameter {parameter.name} has a range, and the {algorithm.title} algorithm has no hyperparameter of "
                "that name."
            )
        if found.name not in algorithm.tunable:
            tunable = ", ".join(sorted(algorithm.tunable))
            raise validation(
                f"The hyperparameter {parameter.name} of the {algorithm.title} algorithm isn't tunable. "
                + (f"Those that are: {tunable}." if tunable else "None of them is.")
            )
        _check_range(parameter, found)


def _check_range(parameter: Parameter, wanted: Hyperparameter) -> None:
    if parameter.kind != "categorical" and wanted.kind not in ("integer", "float"):
        raise validation(
            f"The hyperparameter {parameter.name} is no number: give its values in CategoricalParameterRanges."
        )
    if parameter.kind == "continuous" and wanted.kind == "integer":
        raise validation(
            f"The hyperparameter {parameter.name} is a whole number: give its range in IntegerParameterRanges."
        )
    for text in _outermost(parameter):
        try:
            wanted.parse(text)
        except ClientError as error:
            raise validation(
                f"The range of the hyperparameter {parameter.name} isn't allowed by the algorithm: {error}"
            ) from error


def _outermost(parameter: Parameter) -> Iterable[str]:
    """The values of which each must be allowed, for all to be."""
    if parameter.kind == "categorical":
        return parameter.choices
    whole = parameter.kind == "integer"
    return (str(int(end)) if whole else repr(end) for end in (parameter.low, parameter.high))
