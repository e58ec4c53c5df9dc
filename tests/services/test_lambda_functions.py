import base64
import hashlib
import io
import json
import re
import stat
import warnings
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from services.lambda_house import ACCOUNT, REGION, ROLE_ARN, LambdaHouse, described, zipped

from stagedoor.authz.caller import Caller
from stagedoor.domain.clock import ManualClock
from stagedoor.domain.errors import AwsError
from stagedoor.http.message import FileSlice, Request
from stagedoor.services.lambda_ import code_links
from stagedoor.store.object_rows import Bucket
from stagedoor.store.objects_io import put_bytes

CODE = "def handler(event, context):\n    return event\n"
ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[LambdaHouse]:
    house = LambdaHouse(tmp_path / "house", clock=ManualClock(1_700_000_000.25))
    yield house
    house.close_stores()


def create(house: LambdaHouse, name: str = "f", source: Any = CODE, **members: Any) -> dict[str, Any]:
    return house.tell("lambda", "CreateFunction", **described(name, source, **members))


def refused(house: LambdaHouse, operation: str, **request: Any) -> AwsError:
    with pytest.raises(AwsError) as raised:
        house.tell("lambda", operation, **request)
    return raised.value


def refused_to_create(house: LambdaHouse, **members: Any) -> AwsError:
    error = refused(house, "CreateFunction", **described("f", CODE, **members))
    assert _functions(house) == []
    return error


def _functions(house: LambdaHouse) -> list[str]:
    return [record.name for record in house.records.list("lambda.function")]


def test_a_function_is_described_as_aws_describes_it(house: LambdaHouse) -> None:
    package = zipped(CODE)
    created = create(house)
    revision = created.pop("RevisionId")
    assert re.fullmatch(r"[0-9a-f-]{36}", revision)
    assert created.pop("Architectures") in (["x86_64"], ["arm64"])
    assert created == {
        "FunctionName": "f",
        "FunctionArn": ARN,
        "Runtime": "python3.12",
        "Role": ROLE_ARN,
        "Handler": "app.handler",
        "CodeSize": len(package),
        "CodeSha256": base64.b64encode(hashlib.sha256(package).digest()).decode(),
        "Description": "",
        "Timeout": 3,
        "MemorySize": 128,
        "LastModified": "2023-11-14T22:13:20.250+0000",
        "Version": "$LATEST",
        "TracingConfig": {"Mode": "PassThrough"},
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "PackageType": "Zip",
        "EphemeralStorage": {"Size": 512},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/f"},
    }
    found = house.tell("lambda", "GetFunction", FunctionName="f")
    assert found["Configuration"]["RevisionId"] == revision
    assert found["Code"]["RepositoryType"] == "S3"
    assert "Tags" not in found
    assert "Concurrency" not in found


def test_a_link_to_the_code_ends_after_ten_minutes_or_with_the_package(tmp_path: Path) -> None:
    clock = ManualClock(1_700_000_000.0)
    house = LambdaHouse(tmp_path / "house", clock=clock)
    create(house)
    location = urlsplit(house.tell("lambda", "GetFunction", FunctionName="f")["Code"]["Location"])
    request = Request("GET", location.path, location.query, [], {}, cast(Any, None))

    def refusal() -> tuple[str, int | None]:
        with pytest.raises(AwsError) as raised:
            code_links.package(house.house, request)
        return raised.value.code, raised.value.status

    clock.advance(599)
    body = code_links.package(house.house, request).body
    assert isinstance(body, FileSlice)
    assert body.path.read_bytes() == zipped(CODE)
    body.path.unlink()
    assert refusal() == ("NoSuchKey", 404)
    clock.advance(1)
    assert refusal() == ("AccessDenied", 403)
    house.close_stores()


@pytest.mark.parametrize("text", ["f", ARN, f"{ACCOUNT}:function:f", "function:f", f"{ARN}:$LATEST"])
def test_a_function_is_found_by_name_and_by_each_form_of_its_arn(house: LambdaHouse, text: str) -> None:
    create(house)
    assert house.tell("lambda", "GetFunctionConfiguration", FunctionName=text)["FunctionName"] == "f"


def test_a_qualified_request_is_answered_with_the_qualified_arn(house: LambdaHouse) -> None:
    create(house)
    answer = house.tell("lambda", "GetFunctionConfiguration", FunctionName="f", Qualifier="$LATEST")
    assert answer["FunctionArn"] == f"{ARN}:$LATEST"


def test_names_that_contradict_each_other_or_lead_elsewhere_are_refused(house: LambdaHouse) -> None:
    create(house)
    error = refused(house, "GetFunction", FunctionName=f"{ARN}:1", Qualifier="2")
    assert (
        error.message
        == "The derived qualifier from the function name does not match the specified qualifier."
    )
    error = refused(house, "GetFunction", FunctionName=ARN.replace(REGION, "eu-west-1"))
    assert error.code == "ResourceNotFoundException"
    assert error.message == "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')"
    error = refused(house, "GetFunction", FunctionName=ARN.replace(ACCOUNT, "111111111111"))
    assert (error.code, error.status) == ("AccessDeniedException", 403)
    error = refused(house, "GetFunction", FunctionName="x" * 65)
    assert "Member must have length less than or equal to 64" in error.message


def test_a_name_is_taken_once_even_by_many_at_the_same_time(house: LambdaHouse) -> None:
    def attempt(_: int) -> str:
        try:
            create(house)
        except AwsError as error:
            assert (error.code, error.status) == ("ResourceConflictException", 409)
            assert error.message == "Function already exist: f"
            return "taken"
        return "created"

    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(attempt, range(20)))
    assert outcomes.count("created") == 1


def test_functions_of_other_regions_and_accounts_are_other_functions(house: LambdaHouse) -> None:
    create(house)
    house.tell("lambda", "CreateFunction", region="eu-west-1", **described("f", CODE, Timeout=9))
    assert house.tell("lambda", "GetFunctionConfiguration", FunctionName="f")["Timeout"] == 3
    assert house.tell("lambda", "ListFunctions", region="ap-south-1")["Functions"] == []


def test_what_is_not_there_is_not_found(house: LambdaHouse) -> None:
    for operation in ("GetFunction", "GetFunctionConfiguration", "DeleteFunction", "ListVersionsByFunction"):
        error = refused(house, operation, FunctionName="f")
        assert (error.code, error.status) == ("ResourceNotFoundException", 404)
        assert error.message == f"Function not found: {ARN}"
    create(house)
    for qualifier in ("7", "live"):
        error = refused(house, "GetFunction", FunctionName="f", Qualifier=qualifier)
        assert error.message == f"Function not found: {ARN}:{qualifier}"


# What may be configured ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"Layers": ["arn:aws:lambda:us-east-1:1:layer:x:1"]}, "Layers"),
        ({"VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}}, "VpcConfig"),
        ({"FileSystemConfigs": [{"Arn": "a", "LocalMountPath": "/mnt/x"}]}, "FileSystemConfigs"),
        ({"DeadLetterConfig": {"TargetArn": "arn:aws:sqs:us-east-1:1:q"}}, "DeadLetterConfig"),
        ({"SnapStart": {"ApplyOn": "PublishedVersions"}}, "SnapStart"),
        ({"EphemeralStorage": {"Size": 1024}}, "EphemeralStorage Size 1024"),
        ({"TracingConfig": {"Mode": "Active"}}, "TracingConfig Mode Active"),
        ({"KMSKeyArn": "arn:aws:kms:us-east-1:1:key/x"}, "KMSKeyArn"),
        ({"PackageType": "Image"}, "PackageType Image"),
        ({"ImageConfig": {"Command": ["x"]}}, "ImageConfig"),
        ({"LoggingConfig": {"LogFormat": "JSON"}}, "LogFormat JSON"),
        ({"LoggingConfig": {"SystemLogLevel": "DEBUG"}}, "SystemLogLevel"),
        (
            {"CodeSigningConfigArn": "arn:aws:lambda:us-east-1:1:code-signing-config:csc-1"},
            "CodeSigningConfigArn",
        ),
        ({"Code": {"ImageUri": "1.dkr.ecr.us-east-1.amazonaws.com/x"}}, "ImageUri"),
        ({"Architectures": ["mips"]}, "Architectures"),
        ({"Runtime": "nodejs20.x"}, "The runtime parameter of nodejs20.x is not supported by stagedoor"),
        (
            {"Timeout": 901},
            "'timeout' failed to satisfy constraint: Member must have value less than or equal to 900",
        ),
        ({"MemorySize": 10241}, "'memorySize' failed to satisfy constraint"),
        (
            {"Environment": {"Variables": {"AWS_REGION": "x"}}},
            "Reserved keys used in this request: AWS_REGION",
        ),
        ({"Environment": {"Variables": {"A": "x" * 4096}}}, "exceeded the 4KB limit. String measured: {"),
        ({"Environment": {"Variables": {"A": "\0"}}}, "contains a NUL"),
        ({"Tags": {"aws:x": "y"}}, "begins with aws:"),
        ({"Tags": {str(n): "" for n in range(51)}}, "Number of tags exceeds resource tag limit."),
        ({"Code": {}}, "Please provide a source for function code."),
        (
            {"Code": {"ZipFile": b"x", "S3Bucket": "abc", "S3Key": "k"}},
            "Please do not provide other FunctionCode",
        ),
        ({"Handler": None}, "Runtime and Handler are mandatory parameters"),
        ({"Runtime": None}, "Runtime and Handler are mandatory parameters"),
    ],
)
def test_what_is_wrong_or_not_supported_is_refused_by_name(
    house: LambdaHouse, members: dict[str, Any], said: str
) -> None:
    error = refused_to_create(house, **members)
    assert (error.code, error.status) == ("InvalidParameterValueException", 400)
    assert said in error.message


def test_members_that_only_say_that_there_is_nothing_are_accepted(house: LambdaHouse) -> None:
    nothing: dict[str, Any] = {
        "Layers": [],
        "VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []},
        "DeadLetterConfig": {"TargetArn": ""},
        "KMSKeyArn": "",
        "FileSystemConfigs": [],
        "SnapStart": {"ApplyOn": "None"},
        "TracingConfig": {"Mode": "PassThrough"},
        "EphemeralStorage": {"Size": 512},
        "ImageConfig": {},
    }
    assert create(house, **nothing)["State"] == "Active"


@pytest.mark.parametrize("role", ["not-there", "untrusting"])
def test_a_role_that_lambda_cannot_assume_is_refused(house: LambdaHouse, role: str) -> None:
    house.add_role(f"arn:aws:iam::{ACCOUNT}:role/untrusting", "sagemaker.amazonaws.com")
    error = refused_to_create(house, Role=f"arn:aws:iam::{ACCOUNT}:role/{role}")
    assert error.code == "InvalidParameterValueException"
    assert error.message == "The role defined for the function cannot be assumed by Lambda."


def test_a_role_of_another_account_is_refused(house: LambdaHouse) -> None:
    error = refused_to_create(house, Role="arn:aws:iam::111111111111:role/x")
    assert (error.code, error.status) == ("AccessDeniedException", 403)


def test_an_update_changes_what_it_names_and_the_revision(house: LambdaHouse) -> None:
    before = create(house, Environment={"Variables": {"A": "1"}})
    after = house.tell(
        "lambda", "UpdateFunctionConfiguration", FunctionName="f", Timeout=30, Description="new"
    )
    changed = {member for member in after if after[member] != before[member]}
    assert changed == {"Timeout", "Description", "RevisionId"}
    after = house.tell(
        "lambda", "UpdateFunctionConfiguration", FunctionName="f", Environment={"Variables": {}}
    )
    assert after["Environment"] == {"Variables": {}}
    after = house.tell(
        "lambda", "UpdateFunctionConfiguration", FunctionName="f", LoggingConfig={"LogGroup": "/mine"}
    )
    assert after["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": "/mine"}


def test_an_update_of_another_revision_is_refused(house: LambdaHouse) -> None:
    create(house)
    for operation, members in (
        ("UpdateFunctionConfiguration", {"Timeout": 9}),
        ("UpdateFunctionCode", {"ZipFile": zipped("x = 1\n")}),
        ("PublishVersion", {}),
    ):
        error = refused(house, operation, FunctionName="f", RevisionId="other", **members)
        assert (error.code, error.status) == ("PreconditionFailedException", 412)
        assert "does not match the latest Revision Id" in error.message
    assert house.tell("lambda", "GetFunctionConfiguration", FunctionName="f")["Timeout"] == 3


def test_a_dry_run_of_new_code_tells_what_it_would_be_and_changes_nothing(house: LambdaHouse) -> None:
    before = create(house)
    other = zipped("x = 1\n")
    answer = house.tell("lambda", "UpdateFunctionCode", FunctionName="f", ZipFile=other, DryRun=True)
    assert answer["CodeSize"] == len(other)
    assert house.tell("lambda", "GetFunctionConfiguration", FunctionName="f") == before


# Packages --------------------------------------------------------------------------------------------------------


def archive(*entries: tuple[zipfile.ZipInfo | str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the module warns of names that occur twice
        for info, content in entries:
            made.writestr(info, content)
    return buffer.getvalue()


def entry(name: str, mode: int = 0o644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


def encrypted() -> bytes:
    made = bytearray(archive(("app.py", b"x")))
    made[made.index(b"PK\x01\x02") + 8] |= 1
    return bytes(made)


def renamed(old: bytes, new: bytes) -> bytes:
    return archive((old.decode(), b"x")).replace(old, new)


COULD_NOT = "Could not unzip uploaded file. Please check your file, then try to upload again."


@pytest.mark.parametrize(
    ("package", "said"),
    [
        (b"", COULD_NOT),
        (b"not a zip at all", COULD_NOT),
        (zipped(CODE)[:-8], COULD_NOT),
        (archive(), "Uploaded file must be a non-empty zip"),
        (archive(("../evil.py", b"x")), "points outside of the package"),
        (archive(("a/../../evil.py", b"x")), "points outside of the package"),
        (archive(("/etc/passwd", b"x")), "points outside of the package"),
        (archive(("C:evil.py", b"x")), "points outside of the package"),
        (renamed(b"a_b.py", b"a\\b.py"), "has a character"),
        (renamed(b"a_b.py", b"a\0b.py"), "has a character"),
        (archive((entry("link", stat.S_IFLNK | 0o777), b"/etc/passwd")), "is a link or a special file"),
        (archive((entry("pipe", stat.S_IFIFO | 0o644), b"")), "is a link or a special file"),
        (archive(("app.py", b"x"), ("app.py", b"y")), "occurs twice"),
        (encrypted(), "is encrypted"),
    ],
)
def test_a_file_that_is_no_safe_package_is_refused(house: LambdaHouse, package: bytes, said: str) -> None:
    error = refused_to_create(house, Code={"ZipFile": package})
    assert (error.code, error.status) == ("InvalidParameterValueException", 400)
    assert said in error.message
    assert list((house.settings.data / "functions").glob("*")) == []


def test_a_package_that_unpacks_to_too_much_is_refused_unread(house: LambdaHouse) -> None:
    made = bytearray(archive(("app.py", b"x")))
    central = made.index(b"PK\x01\x02")
    made[central + 24 : central + 28] = (262_144_001).to_bytes(4, "little")
    error = refused_to_create(house, Code={"ZipFile": bytes(made)})
    assert error.message == "Unzipped size must be smaller than 262144000 bytes"


def test_a_package_that_claims_a_million_entries_is_refused_unread(house: LambdaHouse) -> None:
    made = bytearray(archive(("app.py", b"x")))
    end = made.rindex(b"PK\x05\x06")
    made[end + 12 : end + 16] = (64 << 20).to_bytes(4, "little")
    assert "Its list of entries is longer" in refused_to_create(house, Code={"ZipFile": bytes(made)}).message


def test_a_package_over_the_upload_limit_is_refused(house: LambdaHouse) -> None:
    error = refused_to_create(house, Code={"ZipFile": bytes(52_428_801)})
    assert (error.code, error.status) == ("RequestEntityTooLargeException", 413)


def test_a_package_is_taken_from_s3_with_the_callers_permissions(house: LambdaHouse) -> None:
    objects, contents = house.house.objects, house.house.contents
    objects.create_bucket(Bucket("code", ACCOUNT, REGION, 0.0))
    package = zipped(CODE)
    put_bytes(objects, contents, "code", "f.zip", package, now=0.0)
    put_bytes(objects, contents, "code", "bad.zip", b"no zip", now=0.0)
    created = create(house, Code={"S3Bucket": "code", "S3Key": "f.zip"})
    assert created["CodeSha256"] == base64.b64encode(hashlib.sha256(package).digest()).decode()
    for members, said in (
        ({"S3Bucket": "none", "S3Key": "f.zip"}, "S3 Error Code: NoSuchBucket"),
        ({"S3Bucket": "code", "S3Key": "none"}, "S3 Error Code: NoSuchKey"),
        ({"S3Bucket": "code", "S3Key": "bad.zip"}, COULD_NOT),
    ):
        assert said in refused(house, "UpdateFunctionCode", FunctionName="f", **members).message
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "lambda:*", "Resource": "*"}],
    }
    user = Caller("user", ACCOUNT, f"arn:aws:iam::{ACCOUNT}:user/u", "AIDAX", policies=(json.dumps(policy),))
    error = refused(
        house, "UpdateFunctionCode", caller=user, FunctionName="f", S3Bucket="code", S3Key="f.zip"
    )
    assert "S3 Error Code: AccessDenied" in error.message


# Lists, tags, concurrency ----------------------------------------------------------------------------------------


def test_functions_are_listed_by_name_in_pages(house: LambdaHouse) -> None:
    for name in ("c", "a", "b"):
        create(house, name)
    first = house.tell("lambda", "ListFunctions", MaxItems=2)
    assert [found["FunctionName"] for found in first["Functions"]] == ["a", "b"]
    house.tell("lambda", "DeleteFunction", FunctionName="b")
    second = house.tell("lambda", "ListFunctions", Marker=first["NextMarker"])
    assert [found["FunctionName"] for found in second["Functions"]] == ["c"]
    assert "NextMarker" not in second
    assert "marker" in refused(house, "ListFunctions", Marker="~").message


def test_all_versions_of_all_functions_are_listed_on_request(house: LambdaHouse) -> None:
    create(house, "a", Publish=True)
    create(house, "b")
    found = house.tell("lambda", "ListFunctions", FunctionVersion="ALL")["Functions"]
    prefix = ARN[:-1]
    assert [one["FunctionArn"] for one in found] == [
        f"{prefix}a:$LATEST",
        f"{prefix}a:1",
        f"{prefix}b:$LATEST",
    ]


def test_tags_are_added_listed_and_dropped(house: LambdaHouse) -> None:
    create(house, Tags={"team": "reviews"})
    house.tell("lambda", "TagResource", Resource=ARN, Tags={"stage": "test", "team": "words"})
    assert house.tell("lambda", "ListTags", Resource=ARN) == {"Tags": {"team": "words", "stage": "test"}}
    house.tell("lambda", "UntagResource", Resource=ARN, TagKeys=["team", "none"])
    assert house.tell("lambda", "GetFunction", FunctionName="f")["Tags"] == {"stage": "test"}
    assert "Please specify a function ARN" in refused(house, "ListTags", Resource=f"{ARN}:1").message
    tags = {str(n): "" for n in range(50)}
    assert "Number of tags" in refused(house, "TagResource", Resource=ARN, Tags=tags).message


def test_no_function_has_a_code_signing_config(house: LambdaHouse) -> None:
    create(house)
    assert house.tell("lambda", "GetFunctionCodeSigningConfig", FunctionName="f") == {}
    assert (
        refused(house, "GetFunctionCodeSigningConfig", FunctionName="g").code == "ResourceNotFoundException"
    )


def test_reserved_concurrency_is_kept_with_the_function(house: LambdaHouse) -> None:
    create(house)
    assert house.tell("lambda", "GetFunctionConcurrency", FunctionName="f") == {}
    house.tell("lambda", "PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=5)
    assert house.tell("lambda", "GetFunctionConcurrency", FunctionName="f") == {
        "ReservedConcurrentExecutions": 5
    }
    assert house.tell("lambda", "GetFunction", FunctionName="f")["Concurrency"] == {
        "ReservedConcurrentExecutions": 5
    }
    error = refused(house, "PutFunctionConcurrency", FunctionName="f", ReservedConcurrentExecutions=1000)
    assert "function_concurrency" in error.message
    assert "unqualified" in refused(house, "GetFunctionConcurrency", FunctionName=f"{ARN}:1").message
    house.tell("lambda", "DeleteFunctionConcurrency", FunctionName="f")
    assert house.tell("lambda", "GetFunctionConcurrency", FunctionName="f") == {}


# Versions and aliases --------------------------------------------------------------------------------------------


def publish(house: LambdaHouse, number: int) -> dict[str, Any]:
    code = zipped(f"x = {number}\n")
    return house.tell("lambda", "UpdateFunctionCode", FunctionName="f", ZipFile=code, Publish=True)


def test_publishing_makes_a_version_only_when_something_changed(house: LambdaHouse) -> None:
    create(house)
    first = house.tell("lambda", "PublishVersion", FunctionName="f", Description="the first")
    assert (first["Version"], first["FunctionArn"], first["Description"]) == ("1", f"{ARN}:1", "the first")
    assert house.tell("lambda", "PublishVersion", FunctionName="f") == first
    second = publish(house, 2)
    assert (second["Version"], second["FunctionArn"]) == ("2", f"{ARN}:2")
    listed = house.tell("lambda", "ListVersionsByFunction", FunctionName="f")["Versions"]
    assert [one["FunctionArn"] for one in listed] == [f"{ARN}:$LATEST", f"{ARN}:1", f"{ARN}:2"]
    assert house.tell("lambda", "GetFunctionConfiguration", FunctionName="f:1") == first


def test_publishing_checks_the_digest_of_the_code(house: LambdaHouse) -> None:
    create(house)
    error = refused(house, "PublishVersion", FunctionName="f", CodeSha256="other")
    assert error.message.startswith("CodeSHA256 (other) is different from current CodeSHA256 in $LATEST (")


def test_create_with_publish_answers_the_version_under_the_plain_arn(house: LambdaHouse) -> None:
    created = create(house, Publish=True)
    assert (created["Version"], created["FunctionArn"]) == ("1", ARN)


def test_many_versions_stay_in_the_order_of_their_numbers(house: LambdaHouse) -> None:
    create(house)
    for number in range(1, 12):
        publish(house, number)
    pages: list[str] = []
    marker: dict[str, str] = {}
    while True:
        page = house.tell("lambda", "ListVersionsByFunction", FunctionName="f", MaxItems=4, **marker)
        pages += [one["Version"] for one in page["Versions"]]
        if "NextMarker" not in page:
            break
        marker = {"Marker": page["NextMarker"]}
    assert pages == ["$LATEST", *(str(number) for number in range(1, 12))]


def test_an_alias_is_made_moved_and_removed(house: LambdaHouse) -> None:
    create(house, Publish=True)
    publish(house, 2)
    made = house.tell("lambda", "CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
    revision = made.pop("RevisionId")
    assert made == {"AliasArn": f"{ARN}:live", "Name": "live", "FunctionVersion": "1", "Description": ""}
    weights = {"AdditionalVersionWeights": {"2": 0.25}}
    moved = house.tell(
        "lambda", "UpdateAlias", FunctionName="f", Name="live", RoutingConfig=weights, RevisionId=revision
    )
    assert moved["RoutingConfig"] == weights
    assert moved["RevisionId"] != revision
    assert refused(house, "UpdateAlias", FunctionName="f", Name="live", RevisionId=revision).status == 412
    ended = house.tell("lambda", "UpdateAlias", FunctionName="f", Name="live", RoutingConfig={})
    assert "RoutingConfig" not in ended
    assert house.tell("lambda", "GetAlias", FunctionName="f", Name="live") == ended
    house.tell("lambda", "CreateAlias", FunctionName="f", Name="old", FunctionVersion="2")
    listed = house.tell("lambda", "ListAliases", FunctionName="f")["Aliases"]
    assert [one["Name"] for one in listed] == ["live", "old"]
    listed = house.tell("lambda", "ListAliases", FunctionName="f", FunctionVersion="2")["Aliases"]
    assert [one["Name"] for one in listed] == ["old"]
    answer = house.tell("lambda", "GetFunctionConfiguration", FunctionName="f", Qualifier="live")
    assert (answer["Version"], answer["FunctionArn"]) == ("1", f"{ARN}:live")
    assert house.tell("lambda", "DeleteAlias", FunctionName="f", Name="live") == {}
    assert house.tell("lambda", "DeleteAlias", FunctionName="f", Name="live") == {}
    assert (
        refused(house, "GetAlias", FunctionName="f", Name="live").message
        == f"Cannot find alias arn: {ARN}:live"
    )


@pytest.mark.parametrize(
    ("version", "weights", "said"),
    [
        ("9", {}, f"Function not found: {ARN}:9"),
        ("1", {"9": 0.1}, f"Function not found: {ARN}:9"),
        ("1", {"1": 0.1}, "Function version 1 is already included in routing configuration."),
        ("$LATEST", {"1": 0.1}, "$LATEST is not supported for an alias pointing to more than 1 version"),
        ("1", {"2": 0.1, "3": 0.1}, "cannot be greater than 1"),
        ("1", {"2": 1.5}, "is not between 0.0 and 1.0"),
    ],
)
def test_an_alias_to_nowhere_is_refused(
    house: LambdaHouse, version: str, weights: dict[str, float], said: str
) -> None:
    create(house, Publish=True)
    publish(house, 2)
    routing = {"AdditionalVersionWeights": weights}
    error = refused(
        house, "CreateAlias", FunctionName="f", Name="live", FunctionVersion=version, RoutingConfig=routing
    )
    assert said in error.message
    assert house.tell("lambda", "ListAliases", FunctionName="f")["Aliases"] == []


def test_an_alias_is_made_once(house: LambdaHouse) -> None:
    create(house, Publish=True)
    house.tell("lambda", "CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
    error = refused(house, "CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
    assert (error.code, error.status) == ("ResourceConflictException", 409)
    assert error.message == f"Alias already exists: {ARN}:live"


def test_a_version_is_deleted_alone_unless_an_alias_needs_it(house: LambdaHouse) -> None:
    create(house, Publish=True)
    house.tell("lambda", "CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
    assert (
        refused(house, "DeleteFunction", FunctionName="f", Qualifier="1").code == "ResourceConflictException"
    )
    assert (
        "Deletion of aliases" in refused(house, "DeleteFunction", FunctionName="f", Qualifier="live").message
    )
    assert (
        "$LATEST version cannot"
        in refused(house, "DeleteFunction", FunctionName="f", Qualifier="$LATEST").message
    )
    house.tell("lambda", "DeleteAlias", FunctionName="f", Name="live")
    house.tell("lambda", "DeleteFunction", FunctionName="f", Qualifier="1")
    assert refused(house, "GetFunction", FunctionName="f:1").code == "ResourceNotFoundException"
    publish(house, 2)
    assert house.tell("lambda", "GetFunction", FunctionName="f:2")["Configuration"]["Version"] == "2"


def test_deleting_a_function_leaves_nothing_of_it_and_nothing_of_others(house: LambdaHouse) -> None:
    for name in ("f", "f-2"):
        create(house, name, Publish=True)
        house.tell("lambda", "CreateAlias", FunctionName=name, Name="live", FunctionVersion="1")
    assert house.tell("lambda", "DeleteFunction", FunctionName="f") == {"StatusCode": 204}
    kinds = ("lambda.function", "lambda.version", "lambda.alias")
    names = {record.name for kind in kinds for record in house.records.list(kind)}
    assert names == {"f-2", "f-2:1", "f-2:live"}
    create(house)
    assert (
        house.tell("lambda", "ListVersionsByFunction", FunctionName="f")["Versions"][0]["Version"]
        == "$LATEST"
    )


# Permissions -----------------------------------------------------------------------------------------------------


def permit(house: LambdaHouse, sid: str = "api", **members: Any) -> dict[str, Any]:
    request = {"FunctionName": "f", "StatementId": sid, "Action": "lambda:InvokeFunction", **members}
    request.setdefault("Principal", "apigateway.amazonaws.com")
    return json.loads(house.tell("lambda", "AddPermission", **request)["Statement"])


def test_a_permission_becomes_the_statement_that_aws_builds(house: LambdaHouse) -> None:
    create(house)
    source = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:api/*"
    statement = permit(house, SourceArn=source, SourceAccount=ACCOUNT)
    assert statement == {
        "Sid": "api",
        "Effect": "Allow",
        "Principal": {"Service": "apigateway.amazonaws.com"},
        "Action": "lambda:InvokeFunction",
        "Resource": ARN,
        "Condition": {
            "StringEquals": {"AWS:SourceAccount": ACCOUNT},
            "ArnLike": {"AWS:SourceArn": source},
        },
    }
    found = house.tell("lambda", "GetPolicy", FunctionName="f")
    assert json.loads(found["Policy"]) == {"Version": "2012-10-17", "Id": "default", "Statement": [statement]}
    assert re.fullmatch(r"[0-9a-f-]{36}", found["RevisionId"])


@pytest.mark.parametrize(
    ("principal", "stated"),
    [
        ("*", "*"),
        ("s3.amazonaws.com", {"Service": "s3.amazonaws.com"}),
        ("111111111111", {"AWS": "arn:aws:iam::111111111111:root"}),
        ("arn:aws:iam::111111111111:role/x", {"AWS": "arn:aws:iam::111111111111:role/x"}),
    ],
)
def test_principals_are_stated_by_their_kind(house: LambdaHouse, principal: str, stated: Any) -> None:
    create(house)
    assert permit(house, Principal=principal)["Principal"] == stated


def test_wrong_permissions_are_refused(house: LambdaHouse) -> None:
    create(house)
    permit(house)
    with pytest.raises(AwsError, match=r"The statement id \(api\) provided already exists") as raised:
        permit(house)
    assert (raised.value.code, raised.value.status) == ("ResourceConflictException", 409)
    for members, said in (
        ({"Principal": "nobody"}, "The provided principal was invalid"),
        ({"Qualifier": "$LATEST"}, "We currently do not support adding policies for $LATEST."),
        ({"Qualifier": "7"}, f"Function not found: {ARN}:7"),
        ({"Qualifier": "live"}, f"Cannot find alias arn: {ARN}:live"),
        ({"RevisionId": "other"}, "Call the GetPolicy API"),
        ({"FunctionName": "none"}, "Function not found"),
    ):
        with pytest.raises(AwsError, match=re.escape(said)):
            permit(house, "second", **members)
    assert len(json.loads(house.tell("lambda", "GetPolicy", FunctionName="f")["Policy"])["Statement"]) == 1


def test_versions_and_aliases_have_policies_of_their_own(house: LambdaHouse) -> None:
    create(house, Publish=True)
    house.tell("lambda", "CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
    assert permit(house, Qualifier="1")["Resource"] == f"{ARN}:1"
    assert permit(house, Qualifier="live")["Resource"] == f"{ARN}:live"
    assert (
        refused(house, "GetPolicy", FunctionName="f").message == "The resource you requested does not exist."
    )
    house.tell("lambda", "DeleteAlias", FunctionName="f", Name="live")
    house.tell("lambda", "CreateAlias", FunctionName="f", Name="live", FunctionVersion="1")
    assert refused(house, "GetPolicy", FunctionName="f:live").code == "ResourceNotFoundException"


def test_a_statement_is_removed_by_its_id(house: LambdaHouse) -> None:
    create(house)
    message = refused(house, "RemovePermission", FunctionName="f", StatementId="api").message
    assert message == "No policy is associated with the given resource."
    permit(house, "one")
    permit(house, "two")
    message = refused(house, "RemovePermission", FunctionName="f", StatementId="api").message
    assert message == "Statement api is not found in resource policy."
    house.tell("lambda", "RemovePermission", FunctionName="f", StatementId="one")
    assert [
        s["Sid"]
        for s in json.loads(house.tell("lambda", "GetPolicy", FunctionName="f")["Policy"])["Statement"]
    ] == ["two"]
    house.tell("lambda", "RemovePermission", FunctionName="f", StatementId="two")
    assert refused(house, "GetPolicy", FunctionName="f").code == "ResourceNotFoundException"
    message = refused(house, "RemovePermission", FunctionName="g", StatementId="api").message
    assert message == f"No policy found for: {ARN[:-1]}g"


def test_a_policy_does_not_grow_without_end(house: LambdaHouse) -> None:
    create(house)
    with pytest.raises(AwsError) as raised:
        for number in range(1000):
            permit(house, f"{number:0100d}")
    assert raised.value.code == "PolicyLengthExceededException"
