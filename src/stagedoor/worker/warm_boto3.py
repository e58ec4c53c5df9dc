"""boto3 with the service models it usually needs already read, for functions.

Place in the flow: a module of the runtime ``python`` that ``preload`` imports. It fills the loader cache of boto3's default
session, which ``boto3.client(...)`` uses. No client, connection, setting or credential outlives it: the function's own
environment decides those, after the fork.
"""

import os
from typing import Any

import boto3
from botocore.credentials import create_credential_resolver

# What functions on this path call; any other service works, too, and reads its model then.
_SERVICES = ("sagemaker-runtime", "s3", "sts", "logs", "lambda")


def _keep_credential_resolver(session: Any) -> None:
    """Making it takes a fifth of a client's time. Where the environment has keys, as a function's does, they come before all that it would look
    at; elsewhere it is made anew, for that environment.
    """
    resolver = session.get_component("credential_provider")

    def suitable() -> Any:
        has_keys = "AWS_ACCESS_KEY_ID" in os.environ and "AWS_SECRET_ACCESS_KEY" in os.environ
        return resolver if has_keys else create_credential_resolver(session)

    session._components.lazy_register_component("credential_provider", suitable)


def _warm() -> None:
    boto3.setup_default_session()
    assert boto3.DEFAULT_SESSION is not None
    session = boto3.DEFAULT_SESSION._session  # pyright: ignore[reportPrivateUsage]
    loader = session.get_component("data_loader")
    for name in ("endpoints", "partitions", "_retry", "sdk-default-configuration"):
        loader.load_data(name)
    for service in _SERVICES:
        session.get_service_model(service)
        loader.load_service_model(service, "endpoint-rule-set-1")
    # Throw-away clients make boto3 and botocore do the imports they put off. Their credentials are their own.
    for service in ("sagemaker-runtime", "s3"):
        boto3.client(  # pyright: ignore[reportUnknownMemberType, reportCallIssue]
            service,  # pyright: ignore[reportArgumentType]
            region_name="us-east-1",
            aws_access_key_id="none",
            aws_secret_access_key="none",  # noqa: S106 - not a secret
        )
    _keep_credential_resolver(session)
    # The session has read (absent) configuration files by now; the function may bring its own.
    for memory in ("_config", "_profile", "_profile_map", "_credentials"):
        if memory in vars(session):
            setattr(session, memory, None)


_warm()
