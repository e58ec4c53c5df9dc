"""Things that journeys begin with: roles, functions, models, as boto3 calls."""

import io
import json
import zipfile

from stagedoor.testing import Server


def role(server: Server, name: str, service: str, *policies: str) -> str:
    """A role that ``service`` may assume, with AWS managed policies attached; gives its ARN."""
    iam = server.client("iam")
    trust = {
        "Effect": "Allow",
        "Principal": {"Service": f"{service}.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    arn = iam.create_role(
        RoleName=name,
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )["Role"]["Arn"]
    for policy in policies:
        iam.attach_role_policy(RoleName=name, PolicyArn=f"arn:aws:iam::aws:policy/{policy}")
    return arn


def function(server: Server, name: str, code: str, *policies: str, timeout_s: int = 10) -> str:
    """A Python function ``app.handler`` with a role of its own; gives its ARN."""
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("app.py", code)
    return server.client("lambda").create_function(
        FunctionName=name,
        Runtime="python3.12",
        Role=role(server, f"{name}-role", "lambda", *policies),
        Handler="app.handler",
        Code={"ZipFile": package.getvalue()},
        Timeout=timeout_s,
    )["FunctionArn"]
