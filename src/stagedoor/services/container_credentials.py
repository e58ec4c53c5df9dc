"""The credentials endpoint of containers: what ``AWS_CONTAINER_CREDENTIALS_FULL_URI`` of a job or model leads to.

Place in the flow: ``front.listener`` gives what a GET of it asks for. AWS's SDKs ask with the token of ``AWS_CONTAINER_AUTHORIZATION_TOKEN``,
and again some minutes before the credentials expire; so a program may run for longer than a session lasts.
"""

from typing import Final

import orjson

from stagedoor.domain.clock import iso8601_ms
from stagedoor.http.message import Request, Response
from stagedoor.services.call import House
from stagedoor.services.principals import NoSuchRoleError

PATH: Final = "/_stagedoor/credentials"
SESSION_S: Final = 3600


def answer(house: House, request: Request) -> Response:
    """New credentials for who shows a workload's token, in the form that AWS's SDKs read. Blocks."""
    grant = house.credential_grants.find(request.header.get("authorization", ""))
    if grant is None:
        return _json(
            403,
            {
                "code": "AccessDenied",
                "message": "This address gives credentials to running jobs and models, by the token in their "
                "AWS_CONTAINER_AUTHORIZATION_TOKEN. The Authorization header has none, or that of one that has ended.",
            },
        )
    try:
        given = house.principals.role_credentials(
            grant.role_arn, grant.session_name, house.clock.now(), SESSION_S
        )
    except NoSuchRoleError:
        return _json(
            404,
            {
                "code": "NoSuchEntity",
                "message": f"The role {grant.role_arn} does not exist any more. Make it anew, or start the job with another.",
            },
        )
    return _json(
        200,
        {
            "RoleArn": grant.role_arn,
            "AccessKeyId": given.access_key_id,
            "SecretAccessKey": given.secret_access_key,
            "Token": given.session_token,
            "Expiration": iso8601_ms(given.expiration),
        },
    )


def _json(status: int, document: dict[str, str]) -> Response:
    headers = [("content-type", "application/json"), ("cache-control", "no-store")]
    return Response(status, headers, orjson.dumps(document))
