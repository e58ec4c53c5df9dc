"""Which service a request means: the first question about every request on the signed listener.

The credential scope says it best. Requests without one (anonymous, or to be refused) are judged by what they carry:
``X-Amz-Target``, the rpc path, Version of a form, a route of a REST service; what is left is S3.
"""

from functools import cache

from stagedoor.domain.errors import AwsError
from stagedoor.wire import models, routes
from stagedoor.wire.requests import WireRequest

# Everything stagedoor's path is made of. apigatewayv2 shares apigateway's signing name and is told apart by its path.
NAMES = (
    "sagemaker",
    "sagemaker-runtime",
    "sagemaker-metrics",
    "lambda",
    "apigateway",
    "apigatewayv2",
    "s3",
    "iam",
    "sts",
    "logs",
    "cloudwatch",
)

_BY_SIGNING_NAME = {
    "lambda": "lambda",
    "s3": "s3",
    "s3express": "s3",
    "iam": "iam",
    "sts": "sts",
    "logs": "logs",
    "monitoring": "cloudwatch",
}
_BY_TARGET_PREFIX = {
    "SageMaker": "sagemaker",
    "Logs_20140328": "logs",
    "GraniteServiceVersion20100801": "cloudwatch",
}
_BY_VERSION = {"2010-05-08": "iam", "2011-06-15": "sts", "2010-08-01": "cloudwatch"}
# What clients of services that are not here can read, where their requests do not show it: all others speak JSON.
_ANSWERED_LIKE_S3 = frozenset({"s3", "s3express", "s3-outposts", "s3-object-lambda", "cloudfront", "route53"})
_ANSWERED_LIKE_STS = frozenset(
    {
        *("autoscaling", "cloudformation", "cloudsearch", "ec2", "elasticache", "elasticbeanstalk"),
        *(
            "elasticloadbalancing",
            "iam",
            "importexport",
            "monitoring",
            "rds",
            "redshift",
            "sdb",
            "sns",
            "sts",
        ),
    }
)
_SAGEMAKER_REST = ("sagemaker-runtime", "sagemaker-metrics")
_REST = (*_SAGEMAKER_REST, "lambda", "apigateway", "apigatewayv2")


def detect(request: WireRequest, signing_name: str | None) -> str:
    """The service's botocore name, from the signing name of the credential scope (None when unsigned).

    AwsError ``UnknownOperationException`` (501) for a service that is not on stagedoor's path. Requests to deployed
    APIs (``execute-api``) are the caller's to serve before; one that gets here has no route, and API Gateway's words
    for that are 403 ``Missing Authentication Token``.
    """
    if signing_name is None:
        return _by_content(request)
    if signing_name == "sagemaker":
        return next((name for name in _SAGEMAKER_REST if _has_route(name, request.path)), "sagemaker")
    if signing_name == "apigateway":
        return "apigatewayv2" if request.path.startswith("/v2/") else "apigateway"
    if signing_name == "execute-api":
        raise AwsError("MissingAuthenticationTokenException", "Missing Authentication Token", status=403)
    name = _BY_SIGNING_NAME.get(signing_name)
    if name is None:
        raise AwsError(
            "UnknownOperationException",
            f"stagedoor does not offer the service {signing_name}. It offers: {', '.join(NAMES)}.",
            status=501,
        )
    return name


def speaks_like(request: WireRequest, signing_name: str | None) -> str:
    """The service in whose words a request is answered that is meant for none of them: what it looks like itself."""
    content_type = request.headers.get("content-type", "")
    if signing_name == "execute-api":
        return "apigateway"
    if request.headers.get("smithy-protocol") == "rpc-v2-cbor":
        return "cloudwatch"
    if "x-amz-target" in request.headers or content_type.startswith("application/x-amz-json"):
        return "sagemaker"
    if _is_form(request) or signing_name in _ANSWERED_LIKE_STS:
        return "sts"
    if content_type.startswith("application/json"):
        return "lambda"
    return "s3" if signing_name is None or signing_name in _ANSWERED_LIKE_S3 else "lambda"


def _by_content(request: WireRequest) -> str:
    prefix = request.headers.get("x-amz-target", "").rpartition(".")[0]
    if prefix in _BY_TARGET_PREFIX:
        return _BY_TARGET_PREFIX[prefix]
    parts = request.path.split("/")
    if len(parts) >= 5 and parts[-4] == "service" and parts[-3] in _BY_TARGET_PREFIX:
        return _BY_TARGET_PREFIX[parts[-3]]
    if request.path in ("/", "") and (request.query or request.body):
        named = _by_form(request)
        if named is not None:
            return named
    for name in _REST:
        if _has_route(name, request.path):
            return name
    if request.method == "POST" and request.path in ("/", "") and _is_form(request):
        # A form whose body nobody has read yet. All query services refuse it in the same words.
        return "sts"
    return "s3"


def _is_form(request: WireRequest) -> bool:
    return request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")


def _by_form(request: WireRequest) -> str | None:
    try:
        parameters = dict(routes.form_parameters(request))
    except AwsError:
        return None
    action = parameters.get("Action")
    if action is None:
        return None
    named = _BY_VERSION.get(parameters.get("Version", ""))
    if named is not None:
        return named
    for name in _BY_VERSION.values():
        if action in models.service(name).operation_names:
            return name
    return None


@cache
def _table(name: str) -> routes.Table:
    return routes.table(models.service(name))


def _has_route(name: str, path: str) -> bool:
    return path not in ("/", "") and _table(name).find(path) is not None
