"""Credentials for people whom IAM does not know: federated users, and holders of an identity provider's token."""

import base64
import hashlib
import json
import random
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from botocore import UNSIGNED
from botocore.config import Config
from services.identities import document, make_role, make_user, trust, unique, user_arn
from services.test_iam_users import refusal

from stagedoor.authz import web_tokens
from stagedoor.testing import Server

# --- Federated users --------------------------------------------------------------------------------------------


class TestGetFederationToken:
    def test_it_is_the_user_narrowed_by_the_given_policy(self, stagedoor: Server) -> None:
        _, keys = make_user(stagedoor, {"Action": ["sts:GetFederationToken", "s3:*"]})
        sts = stagedoor.client("sts", credentials=keys)
        narrow = document({"Action": ["s3:ListAllMyBuckets", "lambda:*"]})
        answer = sts.get_federation_token(Name="bob", Policy=narrow)
        assert answer["FederatedUser"]["Arn"] == f"arn:aws:sts::{stagedoor.account_id}:federated-user/bob"
        session = answer["Credentials"]
        identity = stagedoor.client("sts", credentials=session).get_caller_identity()
        assert identity["UserId"] == f"{stagedoor.account_id}:bob"
        s3 = stagedoor.client("s3", credentials=session)
        s3.list_buckets()
        assert refusal(s3.create_bucket, Bucket=unique("no"))[:2] == (403, "AccessDenied")
        refused = refusal(stagedoor.client("lambda", credentials=session).list_functions)
        assert refused[:2] == (403, "AccessDeniedException")
        assert "federated-user/bob is not authorized to perform: lambda:ListFunctions" in refused[2]
        # Neither IAM nor further sessions.
        assert refusal(stagedoor.client("iam", credentials=session).list_users)[:2] == (
            403,
            "InvalidClientTokenId",
        )
        again = stagedoor.client("sts", credentials=session)
        assert refusal(again.get_session_token)[0] == 403

    def test_without_a_policy_only_what_a_resource_gives_it_by_name(self, stagedoor: Server) -> None:
        _, keys = make_user(stagedoor, {"Action": "*"})
        session = stagedoor.client("sts", credentials=keys).get_federation_token(Name="eve")["Credentials"]
        s3, bucket = stagedoor.client("s3"), unique("bucket")
        s3.create_bucket(Bucket=bucket)
        s3.put_object(Bucket=bucket, Key="key", Body=b"content")
        federated = stagedoor.client("s3", credentials=session)
        assert refusal(federated.get_object, Bucket=bucket, Key="key")[:2] == (403, "AccessDenied")
        statement = {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:sts::{stagedoor.account_id}:federated-user/eve"},
            "Action": "s3:GetObject",
            "Resource": f"arn:aws:s3:::{bucket}/*",
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        s3.put_bucket_policy(Bucket=bucket, Policy=policy)
        assert federated.get_object(Bucket=bucket, Key="key")["Body"].read() == b"content"

    def test_it_needs_its_permission_and_long_term_keys(self, stagedoor: Server) -> None:
        user, keys = make_user(stagedoor, {"Action": "sts:GetSessionToken"})
        sts = stagedoor.client("sts", credentials=keys)
        refused = refusal(sts.get_federation_token, Name="bob")
        assert refused[:2] == (403, "AccessDenied")
        assert ":federated-user/bob" in refused[2]
        stagedoor.client("iam").delete_user_policy(UserName=user, PolicyName="own")
        session = sts.get_session_token()["Credentials"]
        assert (
            refusal(stagedoor.client("sts", credentials=session).get_federation_token, Name="bob")[0] == 403
        )

    def test_roots_lasts_an_hour_at_most(self, stagedoor: Server) -> None:
        answer = stagedoor.client("sts").get_federation_token(Name="root-made", DurationSeconds=7200)
        assert answer["Credentials"]["Expiration"].timestamp() < time.time() + 3700

    def test_a_source_identity_goes_through_a_chain_and_is_not_changed(self, stagedoor: Server) -> None:
        user, keys = make_user(stagedoor, {"Action": "sts:*"})
        both = ["sts:AssumeRole", "sts:SetSourceIdentity"]
        role = make_role(
            stagedoor,
            {
                "Action": ["sts:*", "iam:ListUsers"],
                "Condition": {"StringEquals": {"aws:SourceIdentity": "ann"}},
            },
            AssumeRolePolicyDocument=trust({"AWS": user_arn(stagedoor, user)}, Action=both),
        )
        call = {"RoleArn": role["Arn"], "RoleSessionName": "one"}
        sts = stagedoor.client("sts", credentials=keys)
        plain = sts.assume_role(**call)["Credentials"]
        assert refusal(stagedoor.client("iam", credentials=plain).list_users)[:2] == (403, "AccessDenied")
        answer = sts.assume_role(**call, SourceIdentity="ann")
        assert answer["SourceIdentity"] == "ann"
        session = answer["Credentials"]
        stagedoor.client("iam", credentials=session).list_users(MaxItems=1)
        following = make_role(stagedoor, AssumeRolePolicyDocument=trust({"AWS": role["Arn"]}, Action=both))
        chained = stagedoor.client("sts", credentials=session)
        further = {"RoleArn": following["Arn"], "RoleSessionName": "two"}
        assert chained.assume_role(**further)["SourceIdentity"] == "ann"
        assert refusal(chained.assume_role, **further, SourceIdentity="eve")[:2] == (403, "AccessDenied")
        untrusting = make_role(stagedoor, principal={"AWS": user_arn(stagedoor, user)})
        call = {"RoleArn": untrusting["Arn"], "RoleSessionName": "one"}
        assert refusal(sts.assume_role, **call, SourceIdentity="ann")[:2] == (403, "AccessDenied")


# --- Tokens of identity providers -------------------------------------------------------------------------------


def is_prime(number: int) -> bool:
    if any(number % small == 0 for small in (3, 5, 7, 11, 13, 17, 19, 23)):
        return False
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    for witness in random.Random(number).sample(range(2, 1 << 60), 12):
        power = pow(witness, odd, number)
        if power in (1, number - 1):
            continue
        for _ in range(twos - 1):
            power = pow(power, 2, number)
            if power == number - 1:
                break
        else:
            return False
    return True


@cache
def rsa_key(seed: int, bits: int = 2048) -> tuple[int, int]:
    """Modulus and private exponent: made here, so that no key lies in the repository."""
    source = random.Random(seed)

    def prime() -> int:
        while True:
            number = source.getrandbits(bits // 2) | 3 << (bits // 2 - 2) | 1
            if number % 65537 != 1 and is_prime(number):
                return number

    p, q = prime(), prime()
    return p * q, pow(65537, -1, (p - 1) * (q - 1))


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwk(seed: int, bits: int = 2048, **more: Any) -> dict[str, Any]:
    modulus, _ = rsa_key(seed, bits)
    return {"kty": "RSA", "n": encoded(modulus.to_bytes(bits // 8, "big")), "e": "AQAB", **more}


def signed(
    claims: dict[str, Any], seed: int = 1, algorithm: str = "RS256", bits: int = 2048, **header: Any
) -> str:
    modulus, exponent = rsa_key(seed, bits)
    text = (
        f"{encoded(json.dumps({'alg': algorithm, **header}).encode())}.{encoded(json.dumps(claims).encode())}"
    )
    prefix = bytes.fromhex("3031300d060960864801650304020105000420")
    digest = prefix + hashlib.sha256(text.encode()).digest()
    padded = b"\x00\x01" + b"\xff" * (bits // 8 - len(digest) - 3) + b"\x00" + digest
    signature = pow(int.from_bytes(padded, "big"), exponent, modulus).to_bytes(bits // 8, "big")
    return f"{text}.{encoded(signature)}"


NOW = 1_700_000_000
CLAIMS = {"iss": "https://issuer.example", "sub": "ann", "aud": "app", "exp": NOW + 60}


class TestWebTokens:
    def verify(self, text: str, *keys: dict[str, Any], now: float = NOW) -> None:
        web_tokens.verify(web_tokens.parse(text), keys or [jwk(1)], now)

    def test_a_token_of_the_issuer_is_accepted(self) -> None:
        self.verify(signed(CLAIMS))
        self.verify(signed(CLAIMS, kid="b"), jwk(2, kid="a"), jwk(1, kid="b"))

    def test_every_other_is_refused(self) -> None:
        good = signed(CLAIMS)
        head, payload, signature = good.split(".")
        other = encoded(json.dumps({**CLAIMS, "sub": "eve"}).encode())
        none = encoded(json.dumps({"alg": "none"}).encode())
        hmac_head = encoded(json.dumps({"alg": "HS256"}).encode())
        for text in (
            f"{head}.{other}.{signature}",
            f"{none}.{payload}.",
            f"{hmac_head}.{payload}.{signature}",
            f"{head}.{payload}.{signature[:-2]}",
            f"{head}.{payload}.{encoded(bytes(256))}",
            f"{head}.{payload}.{encoded((1).to_bytes(256, 'big'))}",
            signed(CLAIMS, seed=2),
            signed(CLAIMS, kid="b"),
        ):
            with pytest.raises(web_tokens.WebTokenError):
                self.verify(text)
        for text in ("", "a.b", "a.b.c", "....", f"{head}.{encoded(b'[]')}.{signature}", good + "=" * 21_000):
            with pytest.raises(web_tokens.WebTokenError):
                web_tokens.parse(text)
        for name in CLAIMS:
            with pytest.raises(web_tokens.WebTokenError, match=name):
                web_tokens.parse(signed({key: value for key, value in CLAIMS.items() if key != name}))

    def test_time_and_weak_keys(self) -> None:
        with pytest.raises(web_tokens.ExpiredError):
            self.verify(signed(CLAIMS), now=NOW + 61)
        with pytest.raises(web_tokens.WebTokenError, match="not valid yet"):
            self.verify(signed({**CLAIMS, "nbf": NOW + 3600}))
        with pytest.raises(web_tokens.WebTokenError):
            self.verify(signed(CLAIMS, bits=1024), jwk(1, 1024))
        with pytest.raises(web_tokens.WebTokenError):
            self.verify(signed(CLAIMS), {**jwk(1), "e": "AQ"})
        with pytest.raises(web_tokens.WebTokenError):
            self.verify(signed(CLAIMS), {**jwk(1), "use": "enc"})


class TestAssumeRoleWithWebIdentity:
    @pytest.fixture
    def server(self, stagedoor_server: Callable[..., Server], tmp_path: Path) -> Server:
        keys = tmp_path / "issuers.json"
        keys.write_text(json.dumps({"https://issuer.example": {"keys": [jwk(1)]}}))
        return stagedoor_server({"STAGEDOOR_OIDC_KEYS": str(keys)})

    def claims(self, **changes: Any) -> dict[str, Any]:
        return {**CLAIMS, "exp": int(time.time()) + 600, **changes}

    def test_a_role_trusts_a_provider_for_a_subject(self, server: Server) -> None:
        iam = server.client("iam")
        arn = iam.create_open_id_connect_provider(Url="https://issuer.example", ClientIDList=["app"])[
            "OpenIDConnectProviderArn"
        ]
        condition = {
            "StringEquals": {"issuer.example:aud": "app"},
            "StringLike": {"issuer.example:sub": "an*"},
        }
        text = trust({"Federated": arn}, Action="sts:AssumeRoleWithWebIdentity", Condition=condition)
        by_provider = {"StringEquals": {"aws:FederatedProvider": arn}}
        role = make_role(
            server, {"Action": "s3:ListAllMyBuckets", "Condition": by_provider}, AssumeRolePolicyDocument=text
        )
        unsigned = server.client("sts", config=Config(signature_version=UNSIGNED))

        def assume(token: str) -> Any:
            return unsigned.assume_role_with_web_identity(
                RoleArn=role["Arn"], RoleSessionName="web", WebIdentityToken=token
            )

        answer = assume(signed(self.claims()))
        assert answer["SubjectFromWebIdentityToken"] == "ann"
        assert (answer["Audience"], answer["Provider"]) == ("app", "https://issuer.example")
        server.client("s3", credentials=answer["Credentials"]).list_buckets()
        for token, expected in (
            (signed(self.claims(sub="bob")), (403, "AccessDenied")),
            (signed(self.claims(aud="other")), (400, "InvalidIdentityToken")),
            (signed(self.claims(), seed=2), (400, "InvalidIdentityToken")),
            (signed(self.claims(exp=1_600_000_000)), (400, "ExpiredTokenException")),
            (signed(self.claims(iss="https://unknown.example")), (400, "IDPCommunicationError")),
            ("nonsense", (400, "InvalidIdentityToken")),
        ):
            assert refusal(assume, token=token)[:2] == expected
        assert refusal(
            unsigned.assume_role_with_web_identity,
            RoleArn=role["Arn"].replace(role["RoleName"], "missing"),
            RoleSessionName="web",
            WebIdentityToken=signed(self.claims()),
        )[:2] == (403, "AccessDenied")
        # No other operation goes without a signature, whatever else the form says.
        for form in (
            {"Action": "GetCallerIdentity", "Version": "2011-06-15"},
            {"Action": "ListUsers", "Version": "2010-05-08", "X": "Action=AssumeRoleWithWebIdentity"},
        ):
            body = urllib.parse.urlencode(form).encode()
            with pytest.raises(urllib.request.HTTPError) as caught:
                urllib.request.urlopen(urllib.request.Request(server.api, body))
            assert caught.value.code == 403
            assert b"MissingAuthenticationToken" in caught.value.read()
        both = b"Action=ListUsers&Version=2010-05-08&Action=AssumeRoleWithWebIdentity"
        with pytest.raises(urllib.request.HTTPError) as caught:
            urllib.request.urlopen(urllib.request.Request(server.api, both))
        assert caught.value.code in {400, 403}
