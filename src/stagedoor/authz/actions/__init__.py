"""Which IAM actions an operation needs, and on which resources: ``actions.toml`` and the few rules it cannot say. Pure.

Place in the flow: ``front.authorise`` asks ``required`` with the parsed request and puts every answer to the policies.
"""

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from stagedoor.authz.caller import Caller

ArnLookup = Callable[[str, str, str], "str | None"]
"""``(account_id, kind, name)`` -> the ARN of an existing IAM ``role``, ``user`` or ``group``, whose path no request says."""


class Requirement(NamedTuple):
    """One action on one resource."""

    action: str
    resource: str


def _nowhere(account_id: str, kind: str, name: str) -> None:
    return None


class Asked(NamedTuple):
    """One operation as it was called. ``method`` and ``path`` are HTTP's, for API Gateway."""

    operation: str
    request: Mapping[str, Any]
    region: str
    account_id: str
    caller: Caller
    method: str = ""
    path: str = ""
    arn_of: ArnLookup = _nowhere


@dataclass(frozen=True, slots=True)
class _Operation:
    action: str
    resources: tuple[tuple[str, ...], ...]
    when: tuple[tuple[str, str], ...]
    also: tuple[tuple[str | None, str], ...]


@dataclass(frozen=True, slots=True)
class _Service:
    prefix: str
    unchecked: frozenset[str]
    passed_to: str
    role_members: tuple[str, ...]
    operations: Mapping[str, _Operation]


_ROLE_ARN: Final = re.compile(r"arn:[^:]+:iam::\d{12}:role/.+").fullmatch
_PLACE: Final = re.compile(r"\{([A-Za-z]+(?::[a-z_]+)?)\}")


def required(service: str, asked: Asked) -> list[Requirement]:
    """Every action that the caller must be allowed; empty when the operation needs none.

    iam:PassRole is among them for each role that the request hands to a service.
    """
    known = _service(service)
    if asked.operation in known.unchecked:
        return []
    if service in {"apigateway", "apigatewayv2"}:
        found = [_api_gateway(asked)]
    else:
        found = _by_table(known, asked)
        if service == "s3" and asked.operation in {"CopyObject", "UploadPartCopy"}:
            found.append(_copy_source(asked))
    if service == "iam" and asked.operation == "AddRoleToInstanceProfile":
        found.append(Requirement("iam:PassRole", _role(str(asked.request.get("RoleName", "")), asked)))
    for member in known.role_members:
        role = asked.request.get(member)
        # API Gateway also takes `arn:aws:iam::*:user/*` there: the caller's own credentials, no role.
        if isinstance(role, str) and _ROLE_ARN(role):
            found.append(Requirement("iam:PassRole", role))
    return found


def unchecked(service: str) -> frozenset[str]:
    """The operations that need no permission, or decide about it themselves."""
    return _service(service).unchecked


def passed_to(service: str) -> str:
    """The service principal that a role of the request is passed to (``iam:PassedToService``); empty for none."""
    return _service(service).passed_to


def _by_table(service: _Service, asked: Asked) -> list[Requirement]:
    operation = service.operations.get(asked.operation)
    if operation is None:
        return [Requirement(f"{service.prefix}:{asked.operation}", "*")]
    action = operation.action
    for member, other in operation.when:
        if asked.request.get(member) is not None:
            action = other
    resources = [_fill(template, asked) for template in operation.resources] or ["*"]
    found = [Requirement(action, resource) for resource in resources]
    for member, further in operation.also:
        if member is None or asked.request.get(member):
            found.append(Requirement(further, resources[0]))
    return found


# --- Filling in resources ---------------------------------------------------------------------------------------


def _fill(template: tuple[str, ...], asked: Asked) -> str:
    """Texts and places take turns in a template."""
    parts: list[str] = []
    for index, part in enumerate(template):
        parts.append(_place(part, asked) if index % 2 else part)
    return "".join(parts)


def _place(place: str, asked: Asked) -> str:
    if place == "region":
        return asked.region
    if place == "account":
        return asked.account_id
    member, _, name = place.partition(":")
    value = asked.request.get(member)
    text = value if isinstance(value, str) else ""
    if not name:
        return text or "*"
    return _FILTERS[name](text, asked)


def _path(text: str, asked: Asked) -> str:
    return text or "/"


def _function_arn(text: str, asked: Asked) -> tuple[str, str]:
    """A function's ARN without qualifier, and the qualifier: from a name, a partial ARN or an ARN."""
    account_id, region = asked.account_id, asked.region
    parts = text.split(":")
    if text.startswith("arn:") and len(parts) >= 7:
        region, account_id, parts = parts[3], parts[4], parts[6:]
    elif len(parts) >= 3 and parts[1] == "function":
        account_id, parts = parts[0], parts[2:]
    elif len(parts) >= 4 and parts[2] == "function":
        # REGION:ACCOUNT:function:NAME, which Lambda takes too.
        region, account_id, parts = parts[0], parts[1], parts[3:]
    name = parts[0] if text else "*"
    return f"arn:aws:lambda:{region}:{account_id}:function:{name}", parts[1] if len(parts) > 1 else ""


def _function(text: str, asked: Asked) -> str:
    return _function_arn(text, asked)[0]


def _qualified_function(text: str, asked: Asked) -> str:
    arn, qualifier = _function_arn(text, asked)
    given = asked.request.get("Qualifier")
    qualifier = given if isinstance(given, str) and given else qualifier
    return f"{arn}:{qualifier}" if qualifier and qualifier != "$LATEST" else arn


def _role(text: str, asked: Asked) -> str:
    return (
        asked.arn_of(asked.account_id, "role", text) or f"arn:aws:iam::{asked.account_id}:role/{text or '*'}"
    )


def _user(text: str, asked: Asked) -> str:
    """A user by name; without one, IAM means the caller."""
    if not text:
        return asked.caller.arn if asked.caller.kind == "user" else f"arn:aws:iam::{asked.account_id}:user/*"
    return asked.arn_of(asked.account_id, "user", text) or f"arn:aws:iam::{asked.account_id}:user/{text}"


def _group(text: str, asked: Asked) -> str:
    return asked.arn_of(asked.account_id, "group", text) or f"arn:aws:iam::{asked.account_id}:group/{text}"


def _sagemaker_arn(kind: str, text: str, asked: Asked) -> str:
    """A resource that is named by its name or by its ARN; SageMaker's ARNs have names in lower case."""
    if text.startswith("arn:"):
        head, slash, name = text.partition("/")
        return head + slash + name.lower()
    return f"arn:aws:sagemaker:{asked.region}:{asked.account_id}:{kind}/{text.lower() or '*'}"


def _new_model_package(text: str, asked: Asked) -> str:
    """The group that gets a version, or a package that is to stand alone."""
    if text:
        return _sagemaker_arn("model-package-group", text, asked)
    name = asked.request.get("ModelPackageName")
    return _sagemaker_arn("model-package", name if isinstance(name, str) else "", asked)


_FILTERS: Final[Mapping[str, Callable[[str, Asked], str]]] = {
    # SageMaker's ARNs have names in lower case, and policies are compared with those.
    "lower": lambda text, asked: text.lower() or "*",
    "or_empty": lambda text, asked: text,
    "model_package": partial(_sagemaker_arn, "model-package"),
    "model_package_group": partial(_sagemaker_arn, "model-package-group"),
    "new_model_package": _new_model_package,
    "experiment": partial(_sagemaker_arn, "experiment"),
    "trial": partial(_sagemaker_arn, "experiment-trial"),
    "trial_component": partial(_sagemaker_arn, "experiment-trial-component"),
    "path": _path,
    "function": _function,
    "qualified_function": _qualified_function,
    "role": _role,
    "user": _user,
    "group": _group,
    # task/aws-service-role/SERVICE/ROLE/UUID: the path of the role that is being deleted.
    "deleted_role": lambda text, asked: text.removeprefix("task").rpartition("/")[0],
    "issuer": lambda text, asked: text.removeprefix("https://").rstrip("/"),
}


# --- What the table cannot say ----------------------------------------------------------------------------------


def _api_gateway(asked: Asked) -> Requirement:
    path = unquote(asked.path).removeprefix("/v2")
    return Requirement(f"apigateway:{asked.method}", f"arn:aws:apigateway:{asked.region}::{path}")


def _copy_source(asked: Asked) -> Requirement:
    """``bucket/key``, percent-encoded, with an optional leading slash and ``?versionId=``."""
    source, _, version = str(asked.request.get("CopySource", "")).partition("?versionId=")
    action = "s3:GetObjectVersion" if version else "s3:GetObject"
    return Requirement(action, f"arn:aws:s3:::{unquote(source).removeprefix('/')}")


# --- Reading the table ------------------------------------------------------------------------------------------


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("actions.toml").read_text(encoding="utf-8"))


@cache
def _service(name: str) -> _Service:
    source = _table().get(name, {})
    prefix: str = source.get("prefix", name)
    renamed: dict[str, str] = source.get("actions", {})
    names: set[str] = set(renamed)
    for entry in (*source.get("on", ()), *source.get("also", ())):
        names.update(entry["operations"])
    for entry in source.get("when", ()):
        names.update(entry["actions"])

    def operation(called: str) -> _Operation:
        return _Operation(
            action=f"{prefix}:{renamed.get(called, called)}",
            resources=tuple(
                tuple(_PLACE.split(entry["resource"]))
                for entry in source.get("on", ())
                if called in entry["operations"]
            ),
            when=tuple(
                (entry["member"], f"{prefix}:{entry['actions'][called]}")
                for entry in source.get("when", ())
                if called in entry["actions"]
            ),
            also=tuple(
                (entry.get("member"), entry["action"])
                for entry in source.get("also", ())
                if called in entry["operations"]
            ),
        )

    return _Service(
        prefix,
        frozenset(source.get("unchecked", ())),
        source.get("passed_to", ""),
        tuple(source.get("role_members", ())),
        {called: operation(called) for called in names},
    )
