"""Which region names a credential scope may have: every one that AWS has, as botocore's partitions list them."""

import importlib.util
import re
from functools import cache
from pathlib import Path

import orjson


@cache
def _partitions() -> tuple[frozenset[str], tuple[re.Pattern[str], ...]]:
    spec = importlib.util.find_spec("botocore")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("botocore is not installed: stagedoor reads the list of regions it ships")
    path = Path(spec.submodule_search_locations[0]) / "data" / "partitions.json"
    partitions = orjson.loads(path.read_bytes())["partitions"]
    names = frozenset(name for partition in partitions for name in partition["regions"])
    return names, tuple(re.compile(partition["regionRegex"]) for partition in partitions)


def is_region(name: str) -> bool:
    """Whether AWS has, or by the form of the name may have, a region of this name."""
    names, forms = _partitions()
    return name in names or (len(name) <= 40 and any(form.fullmatch(name) for form in forms))
