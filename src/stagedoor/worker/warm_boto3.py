"""boto3 with the service models it usually needs already read, for functions.

Place in the flow: a module of the runtime ``python`` that ``preload`` imports. It fills the loader cache of boto3's default
session, which ``boto3.client(...)`` uses. No client, connection, setting or credential outlives it: the function's own
environment decides those, after the fork.
"""

import boto3

# What functions on this path call; any other service works, too, and reads its model then.
_SERVICES = ("sagemaker-runtime", "s3", "sts", "logs", "lambda")


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
    # A throw-away client makes botocore do the imports it puts off. Its credentials are its own.
    session.create_client(
        "sagemaker-runtime",
        region_name="us-east-1",
        aws_access_key_id="none",
        aws_secret_access_key="none",  # noqa: S106 - not a secret
    )
    # The session has read (absent) configuration files by now; the function may bring its own.
    for memory in ("_config", "_profile", "_profile_map", "_credentials"):
        if memory in vars(session):
            setattr(session, memory, None)


_warm()
