"""The context object of a Lambda function in Python, with the members AWS documents.

Place in the flow: ``function_worker`` makes one for each invocation.
"""

import json
import time
from typing import Any, cast

from stagedoor.worker.specs import FunctionCallMeta, FunctionSpec


class CognitoIdentity:
    """Who called, if Amazon Cognito said so. It never does here, so both are None, as on AWS without Cognito."""

    cognito_identity_id: str | None = None
    cognito_identity_pool_id: str | None = None


class Client:
    """The mobile application in a client context."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.installation_id = document.get("installation_id")
        self.app_title = document.get("app_title")
        self.app_version_name = document.get("app_version_name")
        self.app_version_code = document.get("app_version_code")
        self.app_package_name = document.get("app_package_name")


class ClientContext:
    """What the caller gave as ``ClientContext``: ``client``, ``custom`` and ``env``."""

    def __init__(self, document: dict[str, Any]) -> None:
        client = document.get("client")
        self.client = Client(cast(dict[str, Any], client)) if isinstance(client, dict) else None
        self.custom = document.get("custom")
        self.env = document.get("env")


class Context:
    """Passed to the handler as its second argument."""

    def __init__(self, spec: FunctionSpec, call: FunctionCallMeta) -> None:
        self.aws_request_id = call["request_id"]
        self.log_group_name = spec["log_group_name"]
        self.log_stream_name = spec["log_stream_name"]
        self.function_name = spec["function_name"]
        self.function_version = spec["function_version"]
        self.memory_limit_in_mb = str(spec["memory_limit_mb"])  # a string on AWS, too
        self.invoked_function_arn = call["invoked_function_arn"]
        self.client_context = _client_context(call.get("client_context"))
        self.identity = CognitoIdentity()
        self._deadline_ms = call["deadline_ms"]

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the function's time-out; not below zero."""
        return max(self._deadline_ms - int(time.time() * 1000), 0)

    def log(self, message: object) -> None:
        """Write to the function's log."""
        print(message)

    def __repr__(self) -> str:
        members = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return f"LambdaContext({members})"


def _client_context(text: str | None) -> ClientContext | None:
    if not text:
        return None
    document = json.loads(text)
    return ClientContext(cast(dict[str, Any], document)) if isinstance(document, dict) else None
