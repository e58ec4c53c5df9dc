"""Writes the generated pages: ``operations.md`` and ``settings.md``. ``tests/docs`` checks that they are current.

python docs/generate.py
"""

from pathlib import Path

from stagedoor import settings
from stagedoor.services import registry
from stagedoor.wire import models

HERE = Path(__file__).parent
_TITLES = {
    "s3": "S3",
    "iam": "IAM",
    "sts": "STS",
    "sagemaker": "SageMaker",
    "sagemaker-runtime": "SageMaker Runtime",
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
        "the variable over `stagedoor.toml` in the current directory, that over the default.",
        "",
        "| in `stagedoor.toml` | variable | default | meaning |",
        "|---|---|---|---|",
    ]
    for name, variable, default, text in settings.documentation():
        lines.append(f"| `{name}` | `{variable}` | {f'`{default}`' if default else ''} | {text} |")
    return "\n".join(lines) + "\n"


PAGES = {"operations.md": operations, "settings.md": setting_table}


def main() -> None:
    """Write every page."""
    for name, page in PAGES.items():
        (HERE / name).write_text(page())


if __name__ == "__main__":
    main()
