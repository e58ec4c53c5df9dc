"""The public keys of OpenID Connect issuers: a JSON file of the person who runs the server, issuer -> its JWKS document."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from stagedoor.domain.errors import AwsError


def keys_of(path: str, issuer: str) -> Sequence[Mapping[str, Any]] | None:
    """The issuer's keys (RFC 7517); None when the file does not name it. Read anew each time: keys are rotated."""
    if not path:
        return None
    try:
        by_issuer: object = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(by_issuer, dict):
            raise ValueError("it must be an object: issuer -> JWKS document")
        document: Any = cast("dict[str, Any]", by_issuer).get(issuer)
        return None if document is None else [dict(key) for key in document["keys"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise AwsError(
            "IDPCommunicationError", f"The file of the setting oidc_keys cannot be used: {error}.", status=400
        ) from error
