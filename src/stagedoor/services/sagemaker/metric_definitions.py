"""MetricDefinitions of a training job: checked when it is made, since a pattern that finds nothing is found out too late."""

from collections.abc import Mapping, Sequence

from stagedoor.domain.metric_patterns import MetricPattern, MetricPatternError
from stagedoor.services.sagemaker.names import validation


def check(definitions: Sequence[Mapping[str, str]], path: str = "AlgorithmSpecification.") -> None:
    """ValidationException for a name that occurs twice, and for a Regex that is none or has no group."""
    names = [definition["Name"] for definition in definitions]
    if len(set(names)) < len(names):
        raise validation(f"{path}MetricDefinitions: the names of metrics must be unique.")
    for number, definition in enumerate(definitions, 1):
        try:
            MetricPattern(definition["Regex"])
        except MetricPatternError as error:
            raise validation(f"{path}MetricDefinitions.{number}.Regex {error}.") from error
