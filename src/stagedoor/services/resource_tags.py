"""The tags of a resource by its ARN, for ``aws:ResourceTag`` and the like: only policies that ask for them cost the look-up.

Place in the flow: ``permissions`` puts them into the context of a decision.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

from stagedoor.authz.request_keys import as_mapping
from stagedoor.domain.arns import Arn
from stagedoor.services.call import House
from stagedoor.services.sagemaker import tag_sets
from stagedoor.store.records import Key

_FAMILIES: Final[Mapping[str, tuple[str, ...]]] = {
    "sagemaker": ("aws:resourcetag/", "sagemaker:resourcetag/"),
    "iam": ("aws:resourcetag/", "iam:resourcetag/"),
    "s3": ("s3:existingobjecttag/",),
}


@lru_cache(maxsize=4096)
def asked_for(document: str) -> bool:
    """Whether a policy looks at tags of the resource."""
    lower = document.lower()
    return "resourcetag/" in lower or "existingobjecttag/" in lower


def context(house: House, resource: str) -> dict[str, str]:
    """The condition keys of a resource's tags, lower case; none when it has no tags or does not exist. Blocks shortly."""
    try:
        arn = Arn.parse(resource)
    except ValueError:
        return {}
    find = _FINDERS.get(arn.service)
    if find is None:
        return {}
    tags = find(house, arn)
    prefixes = _FAMILIES.get(arn.service, ("aws:resourcetag/",))
    return {f"{prefix}{name.lower()}": value for prefix in prefixes for name, value in tags.items()}


def _sagemaker(house: House, arn: Arn) -> dict[str, str]:
    return as_mapping(tag_sets.tags_of(house.records, str(arn)))


def _lambda(house: House, arn: Arn) -> dict[str, str]:
    name = arn.resource.split(":")[1] if ":" in arn.resource else ""
    record = house.records.get(Key("lambda.function", arn.account_id, arn.region, name))
    return as_mapping(record.document.get("Tags")) if record is not None else {}


def _iam(house: House, arn: Arn) -> dict[str, str]:
    kind, _, rest = arn.resource.partition("/")
    return house.principals.tags_of(arn.account_id, kind, rest.rpartition("/")[2])


def _logs(house: House, arn: Arn) -> dict[str, str]:
    name = arn.resource.removeprefix("log-group:").partition(":")[0]
    group = house.log_events.group(arn.account_id, arn.region, name)
    return dict(group.tags) if group is not None else {}


def _api_gateway(house: House, arn: Arn) -> dict[str, str]:
    """``/restapis/ID…``: the API's; ``/restapis/ID/stages/NAME``: the stage's. Its ARNs name no account."""
    parts = arn.resource.strip("/").split("/")
    if len(parts) < 2 or parts[0] != "restapis":
        return {}
    kind, name = "apigateway.rest_api", parts[1]
    if len(parts) >= 4 and parts[2] == "stages":
        kind, name = "apigateway.stage", f"{parts[1]}/{parts[3]}"
    found = [record for record in house.records.list(kind, prefix=name) if record.name == name]
    return as_mapping(found[0].document.get("tags")) if found else {}


def _s3(house: House, arn: Arn) -> dict[str, str]:
    """An object's tags. Those of a bucket take part only where a bucket is set up for it, which this server does not offer."""
    bucket, slash, key = arn.resource.partition("/")
    if not slash or house.objects.find_bucket(bucket) is None:
        return {}
    row = house.objects.get(bucket, key)
    return as_mapping(row.attributes.get("Tags")) if row is not None else {}


_FINDERS: Final[Mapping[str, Callable[[House, Arn], dict[str, str]]]] = {
    "sagemaker": _sagemaker,
    "lambda": _lambda,
    "iam": _iam,
    "logs": _logs,
    "apigateway": _api_gateway,
    "s3": _s3,
}
