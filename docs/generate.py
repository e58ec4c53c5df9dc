"""Writes the generated pages: ``operations.md``, ``settings.md``, ``ALGORITHM-hyperparameters.md``. ``tests/docs`` checks that they are current.

python docs/generate.py
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from stagedoor import settings
from stagedoor.services import registry
from stagedoor.wire import models
from stagedoor.worker.algorithms import specification
from stagedoor.worker.algorithms.hyperparameters import Hyperparameter
from stagedoor.worker.algorithms.specification import Specification

HERE = Path(__file__).parent
_TITLES = {
    "s3": "S3",
    "iam": "IAM",
    "sts": "STS",
    "sagemaker": "SageMaker",
    "sagemaker-runtime": "SageMaker Runtime",
    "sagemaker-metrics": "SageMaker Metrics",
    "lambda": "Lambda",
    "apigateway": "API Gateway (REST APIs)",
    "logs": "CloudWatch Logs",
    "cloudwatch": "CloudWatch",
}


def _xform(name: str) -> str:
    from botocore import xform_name

    return xform_name(name)


def operations() -> str:
    """The table of supported operations, from the functions that exist."""
    lines = [
        "# Supported operations",
        "",
        "Generated from the code by `python docs/generate.py`. Every other operation of these services answers 501",
        "`NotImplementedException` with its name; a member that an operation does not honour is refused by name.",
        "",
        "| service | supported | of |",
        "|---|---:|---:|",
    ]
    sections: list[str] = []
    for service, title in _TITLES.items():
        built = registry.operations(service)
        everything = models.service(service).operations
        supported = sorted(name for name in everything if _xform(name) in built)
        lines.append(f"| {title} | {len(supported)} | {len(everything)} |")
        if supported:
            sections += ["", f"## {title}", "", ", ".join(f"`{name}`" for name in supported)]
    return "\n".join(lines + sections) + "\n"


def setting_table() -> str:
    """The table of settings, from the fields of ``Settings``."""
    lines = [
        "# Settings",
        "",
        "Generated from `stagedoor.settings` by `python docs/generate.py`. A flag of `stagedoor up` wins over the variable,",
        "the variable over `stagedoor.toml` in the current directory, that over the default. A name that is no setting is refused,",
        "in the file and as a variable: a misspelt setting would silently leave its default in force.",
        "",
        "| in `stagedoor.toml` | variable | default | meaning |",
        "|---|---|---|---|",
    ]
    for name, variable, default, text in settings.documentation():
        lines.append(f"| `{name}` | `{variable}` | {f'`{default}`' if default else ''} | {text} |")
    return "\n".join(lines) + "\n"


def hyperparameter_table(name: str) -> str:
    """The page of one algorithm: its channels, content types, metrics, and the table of its hyperparameters."""
    algorithm = specification.specification(name)
    lines = [
        f"# Hyperparameters of the {algorithm.title} algorithm",
        "",
        f"Generated from `{name}_hyperparameters.toml` and its neighbours by `python docs/generate.py`. All values are strings, as on",
        "AWS. A value that is outside the range, or that cannot be honoured here, fails the job with a `ClientError` that names it.",
        "",
        "A tuning job may have ranges of those that are tunable, within the values.",
        "",
        "| name | values | default | tunable | here |",
        "|---|---|---|---|---|",
    ]
    for one in algorithm.hyperparameters.hyperparameters.values():
        names = ", ".join(f"`{name}`" for name in (one.name, *one.aliases))
        default = "required" if one.required else f"`{one.default}`" if one.default is not None else ""
        tunable = "yes" if one.name in algorithm.tunable else ""
        lines.append(f"| {names} | {_values(one)} | {default} | {tunable} | {_honoured(one)} |")
    return "\n".join(lines + _formats(algorithm) + _metrics(algorithm)) + "\n"


def _formats(algorithm: Specification) -> list[str]:
    rules = algorithm.channels
    channels = [f"`{name}`" for name in rules.required]
    channels += [f"`{name}` (optional)" for name in rules.optional]
    labels = [f"`{name}`" for name in rules.labelled]
    return [
        "",
        "## Formats",
        "",
        "| | |",
        "|---|---|",
        f"| channels | {', '.join(channels)} |",
        f"| with labels | {', '.join(labels) or 'none needed'} |",
        f"| `ContentType` of a channel | {', '.join(f'`{name}`' for name in rules.content_types)}; none: `{rules.default}` |",
        f"| requests | {', '.join(f'`{name}`' for name in algorithm.requests)} |",
        f"| answers | {', '.join(f'`{name}`' for name in algorithm.answers)} |",
        f"| the model opens in | {algorithm.library} |",
        f"| installed by | `pip install 'stagedoor[{algorithm.extra}]'` |",
    ]


def _metrics(algorithm: Specification) -> list[str]:
    lines = ["", "## Metrics", ""]
    if algorithm.objectives:
        lines += [
            "A tuning job's objective is one of those that are an objective, with its channel, as `CHANNEL:NAME`.",
            "",
        ]
    for group in algorithm.metrics:
        for names, direction in (
            (group.maximize, "larger is better"),
            (group.minimize, "smaller is better"),
            (group.neither, "no objective"),
        ):
            if names:
                listed = ", ".join(f"`{name}`" for name in sorted(names))
                channels = ", ".join(f"`{channel}`" for channel in group.objective_channels)
                objective = f"; an objective in {channels}" if channels else ""
                lines.append(f"- `{'`, `'.join(group.channels)}`: {listed} ({direction}{objective})")
    return lines


def _values(one: Hyperparameter) -> str:
    words = [f"`{word}`" for word in (*(("auto",) if one.auto else ()), *one.words)]
    return ", ".join([_numbers_or_words(one), *words])


def _numbers_or_words(one: Hyperparameter) -> str:
    if one.interval is not None:
        return f"{one.kind} in {one.interval.text}"
    if one.choices:
        listed = ", ".join(f"`{choice}`" for choice in one.choices)
        return f"a list of {listed}" if one.kind == "list" else listed
    kinds = {
        "boolean": "`true`, `false`",
        "list": "a list of metrics",
        "directions": "a tuple such as `(1,0,-1)`",
        "groups": "groups of columns such as `[[0,1],[2,3]]`",
    }
    return kinds.get(one.kind, one.kind)


def _honoured(one: Hyperparameter) -> str:
    if one.only is not None:
        only = f"only {', '.join(f'`{value}`' for value in one.only)}" if one.only else "refused"
        return f"{only}: {one.because}"
    if one.use != "nothing":
        return "honoured"
    return f"no effect: {one.because}" if one.because else "no effect on CPUs"


PAGES: dict[str, Callable[[], str]] = {
    "operations.md": operations,
    "settings.md": setting_table,
    **{
        f"{name.replace('_', '-')}-hyperparameters.md": partial(hyperparameter_table, name)
        for name in specification.NAMES
    },
}


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (HERE / name).write_text(page())


if __name__ == "__main__":
    main()
