"""The point of the whole architecture: a model answers those who may ask it, and the door is shut to everybody else.

What each service says to bad signatures is in ``front.test_signatures``; here are the way of a deployed app, and the
things that go for everything that listens.
"""

import dataclasses
import http.client
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import urllib3
from front.wire_requests import CALLS, Signed, clock_off_by
from journeys import operations
from journeys.deployed import CSV, INVOKE, Deployed, numbers
from services.identities import document, make_role, make_user, unique

from stagedoor.authz.session_tokens import SessionTokens
from stagedoor.testing import Server

INVALID_TOKEN = {
    **dict.fromkeys(("sts", "iam"), (403, "InvalidClientTokenId")),
    **dict.fromkeys(("sagemaker", "logs"), (400, "UnrecognizedClientException")),
    **dict.fromkeys(("lambda", "apigateway"), (403, "UnrecognizedClientException")),
    "s3": (403, "InvalidAccessKeyId"),
}
EXPIRED_TOKEN = {
    **dict.fromkeys(("sts", "iam"), (403, "ExpiredToken")),
    **dict.fromkeys(("sagemaker", "logs"), (400, "ExpiredTokenException")),
    **dict.fromkeys(("lambda", "apigateway"), (403, "ExpiredTokenException")),
    "s3": (400, "ExpiredToken"),
}


@pytest.fixture(scope="module")
def app(stagedoor: Server) -> Deployed:
    """A deployed app whose function may do nothing yet."""
    return Deployed(stagedoor, unique("door")).bucket().model().endpoint().function().rest_api()


@pytest.mark.journey
class TestTheFunctionsRole:
    def refused(self, app: Deployed, why: str) -> None:
        account = app.server.account_id
        principal = f"arn:aws:sts::{account}:assumed-role/{app.name}-role/{app.name}"
        error = {
            "Message": (
                f"User: {principal} is not authorized to perform: sagemaker:InvokeEndpoint on resource: "
                f"arn:aws:sagemaker:us-east-1:{account}:endpoint/{app.name} {why}"
            ),
            "Code": "AccessDeniedException",
            "Status": 403,
        }
        assert json.loads(app.invoke_function()["body"]) == error
        status, body = app.call_api()
        assert (status, json.loads(body)) == (502, error)

    def answered(self, app: Deployed) -> None:
        status, body = app.call_api()
        assert status == 200, body
        assert numbers(body) == pytest.approx(app.expected, abs=1e-6)
        assert numbers(app.invoke_function()["body"]) == numbers(body)

    def test_a_policy_counts_from_the_next_request_on_and_no_longer_than_it_is_attached(
        self, app: Deployed
    ) -> None:
        iam, role = app.server.client("iam"), f"{app.name}-role"
        no_allow = "because no identity-based policy allows the sagemaker:InvokeEndpoint action"
        managed = f"arn:aws:iam::aws:policy/{INVOKE}"
        self.refused(app, no_allow)
        for _ in range(3):
            iam.attach_role_policy(RoleName=role, PolicyArn=managed)
            self.answered(app)
            iam.detach_role_policy(RoleName=role, PolicyArn=managed)
            self.refused(app, no_allow)

    def test_only_this_endpoint_and_deny_beats_allow(self, app: Deployed) -> None:
        iam, role, account = app.server.client("iam"), f"{app.name}-role", app.server.account_id
        endpoint = f"arn:aws:sagemaker:us-east-1:{account}:endpoint/"
        ask = {"Action": "sagemaker:InvokeEndpoint"}

        def put(*statements: dict[str, Any]) -> None:
            iam.put_role_policy(RoleName=role, PolicyName="own", PolicyDocument=document(*statements))

        put({**ask, "Resource": f"{endpoint}{app.name}x"})
        self.refused(app, "because no identity-based policy allows the sagemaker:InvokeEndpoint action")
        put({**ask, "Resource": f"{endpoint}{app.name}"})
        self.answered(app)
        put({**ask, "Resource": f"{endpoint}*"}, {"Effect": "Deny", "Action": "sagemaker:Invoke*"})
        self.refused(app, "with an explicit deny in an identity-based policy")
        iam.delete_role_policy(RoleName=role, PolicyName="own")


class TestTheDataPath:
    """Bad signatures on InvokeEndpoint, which authenticates like everything else and answers from memory."""

    def signed(self, app: Deployed, **changes: Any) -> Signed:
        call: dict[str, Any] = {
            "name": "sagemaker",
            "method": "POST",
            "target": f"/endpoints/{app.name}/invocations",
            "headers": {"Content-Type": "text/csv"},
            "body": CSV.encode(),
        }
        return Signed(app.server, "lambda", **{**call, **changes})

    def said(self, signed: Signed) -> tuple[int, str]:
        answer = signed.send()
        return answer.status, answer.code

    def test_who_signs_rightly_is_answered(self, app: Deployed) -> None:
        answer = self.signed(app).send()
        assert answer.status == 200
        assert numbers(answer.body) == pytest.approx(app.expected, abs=1e-6)

    def test_wrong_secrets_and_unknown_keys(self, app: Deployed) -> None:
        wrong = {"AccessKeyId": app.server.access_key_id, "SecretAccessKey": "wrong"}
        assert self.said(self.signed(app, keys=wrong)) == (403, "InvalidSignatureException")
        unknown = {"AccessKeyId": "AKIAUNKNOWNUNKNOWN00", "SecretAccessKey": "secret"}
        assert self.said(self.signed(app, keys=unknown)) == (403, "UnrecognizedClientException")

    def test_no_signature(self, app: Deployed) -> None:
        signed = self.signed(app)
        del signed.headers["Authorization"]
        assert self.said(signed) == (403, "MissingAuthenticationTokenException")

    @pytest.mark.parametrize("part", ["body", "path", "query", "header", "host"])
    def test_what_was_changed_after_signing(self, app: Deployed, part: str) -> None:
        signed = self.signed(app, headers={"Content-Type": "text/csv", "X-Amz-Target-Variant": "AllTraffic"})
        if part == "body":
            signed.body += b"\n1,1,1,1,1,1"
        elif part == "path":
            signed.path = f"/endpoints/{app.name}x/invocations"
        elif part == "query":
            signed.query = "a=1"
        elif part == "header":
            signed.headers["X-Amz-Target-Variant"] = "Other"
        else:
            signed.headers["Host"] = "localhost"
        assert self.said(signed) == (403, "InvalidSignatureException")

    @pytest.mark.parametrize(
        ("minutes", "says"), [(-16, "Signature expired"), (16, "Signature not yet current")]
    )
    def test_a_wrong_clock(self, app: Deployed, minutes: int, says: str) -> None:
        with clock_off_by(minutes * 60):
            answer = self.signed(app).send()
        assert (answer.status, answer.code) == (403, "InvalidSignatureException")
        assert answer.message.startswith(says)

    @pytest.mark.parametrize(
        ("scope_service", "expected"),
        [
            ("lambda", (404, "UnknownOperationException")),
            ("s3", (400, "InvalidRequest")),
            ("execute-api", (403, "MissingAuthenticationTokenException")),
        ],
    )
    def test_a_scope_of_another_service_means_that_service(
        self, app: Deployed, scope_service: str, expected: tuple[int, str]
    ) -> None:
        assert self.said(self.signed(app, scope_service=scope_service)) == expected


@pytest.fixture(scope="module")
def neighbour(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Another server, with secrets of its own; both have the account 000000000000."""
    server = Server(tmp_path_factory.mktemp("neighbour") / "data").start()
    yield server
    server.kill()


def session_of(server: Server) -> dict[str, str]:
    _, keys = make_user(server, {"Action": "sts:AssumeRole"})
    role = make_role(server, {"Action": "*"})
    sts = server.client("sts", credentials=keys)
    return sts.assume_role(RoleArn=role["Arn"], RoleSessionName="session")["Credentials"]


def expired(server: Server, session: dict[str, str]) -> dict[str, str]:
    """The same session, but of an hour ago: made with the server's own secret, as nobody else could."""
    written = json.loads((server.data / "keys.json").read_text())
    tokens = SessionTokens(bytes.fromhex(written["session_secret"]))
    claims = tokens.open(session["SessionToken"], session["AccessKeyId"], time.time())
    an_hour_ago = int(time.time()) - 3600
    made = tokens.issue(dataclasses.replace(claims, issued_at=an_hour_ago - 900, expires_at=an_hour_ago))
    return {
        "AccessKeyId": made.access_key_id,
        "SecretAccessKey": made.secret_access_key,
        "SessionToken": made.session_token,
    }


class TestSessions:
    @pytest.mark.parametrize("service", sorted(CALLS))
    def test_a_session_that_expired_is_told_so(self, stagedoor: Server, service: str) -> None:
        session = session_of(stagedoor)
        assert Signed(stagedoor, service, keys=session).send().status == 200
        answer = Signed(stagedoor, service, keys=expired(stagedoor, session)).send()
        assert (answer.status, answer.code) == EXPIRED_TOKEN[service]

    @pytest.mark.parametrize("service", sorted(CALLS))
    def test_a_session_or_key_of_another_server_is_unknown(
        self, stagedoor: Server, neighbour: Server, service: str
    ) -> None:
        session = session_of(neighbour)
        answer = Signed(stagedoor, service, keys=session).send()
        invalid = (400, "InvalidToken") if service == "s3" else INVALID_TOKEN[service]
        assert (answer.status, answer.code) == invalid
        _, keys = make_user(neighbour, {"Action": "*"})
        answer = Signed(stagedoor, service, keys=keys).send()
        assert (answer.status, answer.code) == INVALID_TOKEN[service]

    @pytest.mark.parametrize("service", sorted(CALLS))
    def test_a_key_is_refused_from_the_request_on_that_follows_its_end(
        self, stagedoor: Server, service: str
    ) -> None:
        iam = stagedoor.client("iam")
        name, keys = make_user(stagedoor, {"Action": "*"})
        place = {"UserName": name, "AccessKeyId": keys["AccessKeyId"]}

        def said() -> tuple[int, str]:
            answer = Signed(stagedoor, service, keys=keys).send()
            return answer.status, answer.code

        assert said()[0] == 200
        iam.update_access_key(**place, Status="Inactive")
        assert said() == INVALID_TOKEN[service]
        iam.update_access_key(**place, Status="Active")
        assert said()[0] == 200
        iam.delete_access_key(**place)
        assert said() == INVALID_TOKEN[service]

    def test_a_session_ends_with_its_role(self, stagedoor: Server) -> None:
        _, keys = make_user(stagedoor, {"Action": "sts:AssumeRole"})
        role = make_role(stagedoor, {"Action": "*"})
        sts, iam = stagedoor.client("sts", credentials=keys), stagedoor.client("iam")
        session = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="one")["Credentials"]
        iam.delete_role_policy(RoleName=role["RoleName"], PolicyName="own")
        assert Signed(stagedoor, "iam", keys=session).send().code == "AccessDenied"
        iam.delete_role(RoleName=role["RoleName"])
        answer = Signed(stagedoor, "iam", keys=session).send()
        assert (answer.status, answer.code) == INVALID_TOKEN["iam"]
        # A new role of the old name is another one.
        text = json.dumps(role["AssumeRolePolicyDocument"])
        iam.create_role(RoleName=role["RoleName"], AssumeRolePolicyDocument=text)
        assert Signed(stagedoor, "iam", keys=session).send().status == 403


@pytest.fixture(scope="module")
def private(stagedoor: Server) -> str:
    """A bucket, and an object of the same name in it."""
    name = unique("private")
    s3 = stagedoor.client("s3")
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key=name, Body=b"private")
    return name


MISSING = {
    **dict.fromkeys(("sts", "iam", "cloudwatch"), (403, "MissingAuthenticationToken")),
    **dict.fromkeys(("sagemaker", "logs"), (400, "MissingAuthenticationTokenException")),
    **dict.fromkeys(
        ("lambda", "apigateway", "sagemaker-runtime", "sagemaker-metrics"),
        (403, "MissingAuthenticationTokenException"),
    ),
    "s3": (403, "AccessDenied"),
}


class TestWithoutASignature:
    @pytest.mark.parametrize("operation", operations.built(), ids=str)
    def test_no_operation_answers(
        self, stagedoor: Server, private: str, operation: operations.Operation
    ) -> None:
        parameters = operation.smallest()
        if operation.service == "s3":
            parameters |= {name: private for name in ("Bucket", "Key") if name in parameters}
        answer = operation.request(parameters).send_unsigned(stagedoor)
        if operation.model.name == "DeleteObjects":
            # Decided key by key, as on AWS: the answer is 200, and each key is refused.
            assert b"<Code>AccessDenied</Code>" in answer.body
            assert b"<Deleted>" not in answer.body
        elif operation.model.name == "AssumeRoleWithWebIdentity":
            # The one call that AWS takes unsigned: a signed token of a known issuer stands in for the signature.
            assert (answer.status, answer.code) == (400, "InvalidIdentityToken")
        elif operation.model.http["method"] == "HEAD":
            assert (answer.status, answer.body) == (403, b"")
        else:
            assert (answer.status, answer.code) == MISSING[operation.service]

    def test_nothing_was_changed_by_all_that(self, stagedoor: Server, private: str) -> None:
        s3 = stagedoor.client("s3")
        assert s3.get_object(Bucket=private, Key=private)["Body"].read() == b"private"
        assert s3.list_object_versions(Bucket=private)["Versions"][0]["VersionId"] == "null"

    @pytest.mark.parametrize(
        "path",
        [
            *("/", "/index.html", "/favicon.ico", "/_stagedoor", "/_stagedoor/", "/_stagedoor/health/x"),
            *("/_stagedoor/keys", "/console", "/_console", "/_aws", "/_aws/execute-api", "/v2/apis", "//"),
            *("/_aws/s3-website/x/", "/_aws/../_stagedoor/health", "/%5fstagedoor/health", "/restapis"),
            *("/_stagedoor/health;x", "/endpoints/x/invocations", "/2015-03-31/functions/x/invocations"),
        ],
    )
    def test_no_other_path_answers(self, stagedoor: Server, path: str) -> None:
        connection = http.client.HTTPConnection(stagedoor.api.removeprefix("http://"), timeout=20)
        for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE"):
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
            assert 400 <= answer.status < 500, (method, body)
        connection.close()

    def test_the_health_of_the_server_tells_nothing_private(self, stagedoor: Server) -> None:
        for listener in (stagedoor.api, stagedoor.public):
            answer = urllib3.request("GET", f"{listener}/_stagedoor/health")
            assert answer.status == 200
            assert set(answer.json()) == {"status", "version", "api", "public", "isolation"}
            assert set(answer.json()["isolation"]) == {"mode", "rungs"}

    def test_the_public_listener_speaks_no_api_of_aws(self, stagedoor: Server, private: str) -> None:
        """Not even to those who sign: there are only deployed APIs and websites."""
        at_public: Callable[..., Server] = Server
        other = at_public(stagedoor.data)
        other.api = stagedoor.public
        other.access_key_id, other.secret_access_key = stagedoor.access_key_id, stagedoor.secret_access_key
        for service in CALLS:
            assert Signed(other, service).send().status == 404
        get = Signed(other, "s3", target=f"/{private}/{private}").send()
        assert (get.status, b"private" in get.body) == (404, False)
