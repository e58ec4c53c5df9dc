"""AWS's wire protocols, derived from botocore's service models; nothing here knows an operation by name.

The way of a request: ``services.detect`` (which service) → ``routes.operation_of`` (which operation, which protocol)
→ ``parse.request`` → ``validate.request`` → the operation → ``answers.serialise`` or ``errors.serialise``.
``eventstream`` frames the events of streaming answers. Service models load when first asked for.
"""

from stagedoor.wire import answers, errors, eventstream, models, parse, requests, routes, services, validate

__all__ = [
    "answers",
    "errors",
    "eventstream",
    "models",
    "parse",
    "requests",
    "routes",
    "services",
    "validate",
]
