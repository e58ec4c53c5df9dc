"""How large a request's body may be, and what AWS says when it is larger. A step of ``front.listener``, before any of it is read.

A limit belongs to an operation. Where the operation is in the path it counts; elsewhere the service's largest does.
"""

from typing import Final, NamedTuple

from stagedoor.domain.errors import AwsError
from stagedoor.http.message import BodyTooLargeError
from stagedoor.services.lambda_ import invocations
from stagedoor.settings import Settings
from stagedoor.wire import models, routes
from stagedoor.wire.requests import WireRequest

# CompleteMultipartUpload with 10,000 parts and the largest documents of all other services fit.
DEFAULT_BYTES: Final = 16 * 1024 * 1024
# "Request must be smaller than": a zip of 50 MB in base64 and the rest of the document.
_FUNCTION_CODE_BYTES: Final = 70_167_211


class BodyLimit(NamedTuple):
    """The limit of one request. ``operation`` is empty where the limit is the service's."""

    service: str
    operation: str
    limit_bytes: int

    def refusal(self, error: BodyTooLargeError) -> AwsError:
        """413 in the words of the service."""
        match self.service, self.operation:
            case "sagemaker-runtime", _:
                # The runtime's own words; it gives no code, so clients take the status for one.
                return AwsError("413", f"HTTP content length exceeded {self.limit_bytes} bytes.", status=413)
            case "lambda", ("Invoke" | "InvokeAsync") as operation:
                return invocations.too_large(self.limit_bytes, operation)
            case "lambda", operation if operation:
                return AwsError(
                    "RequestEntityTooLargeException",
                    f"Request must be smaller than {self.limit_bytes + 1} bytes for the {operation} operation",
                    status=413,
                )
            case _:
                code = "EntityTooLarge" if self.service == "s3" else "RequestEntityTooLargeException"
                return AwsError(code, f"The request's body is too large: {error}.", status=413)


def body_limit(service: str, request: WireRequest, settings: Settings) -> BodyLimit:
    """The limit of a request to ``service`` whose body has not been read."""
    if service == "sagemaker-runtime":
        return BodyLimit(service, "", settings.invoke_body_max_bytes)
    if service != "lambda":
        return BodyLimit(service, "", DEFAULT_BYTES)
    try:
        operation = routes.operation_of(models.service(service), request)[0].name
    except AwsError:
        return BodyLimit(service, "", DEFAULT_BYTES)
    match operation:
        case "Invoke" if request.headers.get("x-amz-invocation-type") == "Event":
            return BodyLimit(service, "InvokeAsync", invocations.MAX_EVENT_BYTES)
        case "Invoke":
            return BodyLimit(service, operation, invocations.MAX_PAYLOAD_BYTES)
        case "CreateFunction" | "UpdateFunctionCode" | "PublishLayerVersion":
            return BodyLimit(service, operation, _FUNCTION_CODE_BYTES - 1)
        case _:
            return BodyLimit(service, "", DEFAULT_BYTES)
