"""Forms that browsers POST to a bucket, made with boto3's generate_presigned_post."""

import base64
import json
import re
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from services.identities import make_role, make_user, unique
from urllib3 import BaseHTTPResponse, request

from stagedoor.testing import Server


@pytest.fixture
def bucket(stagedoor: Server) -> str:
    name = unique("uploads")
    stagedoor.client("s3").create_bucket(Bucket=name)
    return name


def s3_of(stagedoor: Server, version: str = "s3v4", **options: Any) -> Any:
    return stagedoor.client(
        "s3", config=Config(signature_version=version, s3={"addressing_style": "path"}), **options
    )


def posted(
    form: dict[str, Any], content: bytes = b"hello", name: str = "file.txt", **changes: str
) -> BaseHTTPResponse:
    fields = {**form["fields"], **{key.replace("_", "-"): value for key, value in changes.items()}}
    fields["file"] = (name, content, "text/plain")
    return request("POST", form["url"], fields=fields, redirect=False)


def said(answer: BaseHTTPResponse) -> tuple[int, str]:
    found = re.search(rb"<Code>(.*?)</Code>", answer.data)
    return answer.status, found[1].decode() if found else ""


def keys_of(stagedoor: Server, bucket: str) -> list[str]:
    return [one["Key"] for one in stagedoor.client("s3").list_objects_v2(Bucket=bucket).get("Contents", [])]


@pytest.mark.parametrize("version", ["s3v4", "s3"])
def test_a_form_stores_its_file(stagedoor: Server, bucket: str, version: str) -> None:
    s3 = s3_of(stagedoor, version)
    content = bytes(range(256)) * 8192 + b"\r\n--not the end\r\n"
    fields = {"Content-Type": "image/png", "x-amz-meta-who": "me"}
    form = s3.generate_presigned_post(
        bucket,
        "pictures/${filename}",
        Fields=fields,
        Conditions=[{name: value} for name, value in fields.items()],
    )
    answer = posted(form, content, "C:\\folder\\cat 1.png")
    assert answer.status == 204, answer.data
    found = stagedoor.client("s3").get_object(Bucket=bucket, Key="pictures/cat 1.png")
    assert found["Body"].read() == content
    assert (found["ContentType"], found["Metadata"]) == ("image/png", {"who": "me"})
    assert answer.headers["ETag"] == found["ETag"]
    assert answer.headers["Location"].endswith(f"/{bucket}/pictures/cat%201.png")


def test_the_form_says_what_it_wants_back(stagedoor: Server, bucket: str) -> None:
    s3 = s3_of(stagedoor)

    def post(name: str, value: str) -> BaseHTTPResponse:
        return posted(
            s3.generate_presigned_post(bucket, "k", Fields={name: value}, Conditions=[{name: value}])
        )

    made = post("success_action_status", "201")
    assert made.status == 201
    assert f"<Bucket>{bucket}</Bucket><Key>k</Key>" in made.data.decode()
    assert post("success_action_status", "200").status == 200
    away = post("success_action_redirect", "http://app.example/done?a=1")
    assert away.status == 303
    assert away.headers["Location"].startswith(f"http://app.example/done?a=1&bucket={bucket}&key=k&etag=")
    assert post("success_action_redirect", "javascript:alert(1)").status == 204


def test_what_the_policy_does_not_allow_is_refused_and_nothing_stored(stagedoor: Server, bucket: str) -> None:
    s3 = s3_of(stagedoor)
    plain = s3.generate_presigned_post(bucket, "allowed", Conditions=[["content-length-range", 2, 10]])
    assert said(posted(plain, key="other")) == (403, "AccessDenied")
    assert said(posted(plain, x_amz_meta_a="b")) == (403, "AccessDenied")
    assert said(posted(plain, b"x")) == (400, "EntityTooSmall")
    assert said(posted(plain, b"x" * 11)) == (400, "EntityTooLarge")
    assert said(posted(plain, x_amz_signature="0" * 64)) == (403, "SignatureDoesNotMatch")
    assert said(posted(plain, x_amz_credential="AKIANOBODY/20260101/us-east-1/s3/aws4_request"))[0] in (
        400,
        403,
    )
    policy = json.loads(base64.b64decode(plain["fields"]["policy"]))
    policy["conditions"] = [["starts-with", "$key", ""]]
    wider = base64.b64encode(json.dumps(policy).encode()).decode()
    assert said(posted(plain, policy=wider)) == (403, "SignatureDoesNotMatch")
    assert said(posted(s3.generate_presigned_post(bucket, "late", ExpiresIn=-5))) == (403, "AccessDenied")
    elsewhere = plain | {"url": plain["url"].replace(bucket, unique("nowhere"))}
    assert said(posted(elsewhere))[0] in (403, 404)
    assert keys_of(stagedoor, bucket) == []
    assert posted(plain).status == 204
    assert keys_of(stagedoor, bucket) == ["allowed"]


def test_the_signers_permissions_count(stagedoor: Server, bucket: str) -> None:
    name, keys = make_user(stagedoor, {"Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{bucket}/mine/*"})
    s3 = s3_of(stagedoor, credentials=keys)
    assert posted(s3.generate_presigned_post(bucket, "mine/a")).status == 204
    other = s3.generate_presigned_post(bucket, "other")
    assert said(posted(other)) == (403, "AccessDenied")
    role = make_role(stagedoor, {"Action": "s3:PutObject"})
    _, assumer = make_user(stagedoor, {"Action": "sts:AssumeRole"})
    session = stagedoor.client("sts", credentials=assumer).assume_role(
        RoleArn=role["Arn"], RoleSessionName="upload"
    )["Credentials"]
    form = s3_of(stagedoor, credentials=session).generate_presigned_post(bucket, "by-session")
    assert posted(form).status == 204
    del form["fields"]["x-amz-security-token"]
    assert said(posted(form))[0] == 403
    form = s3.generate_presigned_post(bucket, "mine/b")
    stagedoor.client("iam").delete_access_key(UserName=name, AccessKeyId=keys["AccessKeyId"])
    assert said(posted(form)) == (403, "InvalidAccessKeyId")
    assert keys_of(stagedoor, bucket) == ["by-session", "mine/a"]


def test_without_a_policy_it_is_everybodys_upload(stagedoor: Server, bucket: str) -> None:
    s3 = stagedoor.client("s3")
    form = {"url": f"{stagedoor.api}/{bucket}", "fields": {"key": "anonymous"}}
    assert said(posted(form)) == (403, "AccessDenied")
    s3.delete_public_access_block(Bucket=bucket)
    statement = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:PutObject",
        "Resource": f"arn:aws:s3:::{bucket}/anonymous",
    }
    s3.put_bucket_policy(
        Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    )
    assert posted(form).status == 204
    assert said(posted(form, key="another")) == (403, "AccessDenied")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "MalformedPOSTRequest"),
        (b"--b\r\n", "MalformedPOSTRequest"),
        (b'--b\r\nContent-Disposition: form-data; name="key"\r\n\r\nk\r\n--b--\r\n', "MalformedPOSTRequest"),
        (b"--b\r\nContent-Type: x\r\n\r\nk\r\n--b--\r\n", "MalformedPOSTRequest"),
        (b'--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--b--\r\n', "InvalidArgument"),
        (
            b'--b\r\nContent-Disposition: form-data; name="key"\r\n\r\n' + b"k" * 21_000 + b"\r\n--b--\r\n",
            "MaxPostPreDataLengthExceeded",
        ),
        (b"x" * 100_000, "MaxPostPreDataLengthExceeded"),
    ],
)
def test_what_is_no_form_is_refused(stagedoor: Server, bucket: str, body: bytes, code: str) -> None:
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = request("POST", f"{stagedoor.api}/{bucket}", body=body, headers=kind)
    assert said(answer) == (400, code)


def test_a_form_that_breaks_off_stores_nothing(stagedoor: Server, bucket: str) -> None:
    s3 = s3_of(stagedoor)
    form = s3.generate_presigned_post(bucket, "half")
    parts = [
        f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in form["fields"].items()
    ]
    body = "".join([*parts, '--b\r\nContent-Disposition: form-data; name="file"\r\n\r\nhalf of it']).encode()
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = request("POST", form["url"], body=body, headers=kind)
    assert said(answer) == (400, "MalformedPOSTRequest")
    with pytest.raises(ClientError):
        s3.head_object(Bucket=bucket, Key="half")
