"""The AWS CLI, unmodified, with nothing but what `stagedoor env` prints: what people type, and what they get for mistakes."""

import json
import random
import time
from collections.abc import Callable

import pytest
from journeys.aws_cli import SERVICE_ERROR, USAGE_ERROR, Cli
from journeys.deployed import CSV, PAGE, ROWS, fetch, numbers
from services.hosting_house import IMAGE, model_archive, scores, train
from services.identities import trust, unique
from services.lambda_house import zipped

from stagedoor.testing import Server

pytestmark = pytest.mark.journey
MIB = 1024 * 1024


@pytest.fixture
def name() -> str:
    return unique("cli")


def test_buckets_and_files(either_aws: Cli, stagedoor: Server, name: str) -> None:
    aws = either_aws
    bucket = f"s3://{name}"
    assert aws("s3", "mb", bucket) == f"make_bucket: {name}\n"
    big = random.Random(7).randbytes(20 * MIB)
    (aws.folder / "big.bin").write_bytes(big)
    aws("s3", "cp", "big.bin", f"{bucket}/files/big.bin", "--no-progress")
    head = aws.json("s3api", "head-object", "--bucket", name, "--key", "files/big.bin")
    assert head["ContentLength"] == len(big)
    assert head["ETag"].endswith('-3"'), "uploaded in parts of 8 MB"
    aws("s3", "cp", f"{bucket}/files/big.bin", "back.bin", "--no-progress")
    assert (aws.folder / "back.bin").read_bytes() == big
    aws("s3", "mv", f"{bucket}/files/big.bin", f"{bucket}/moved.bin", "--no-progress")
    tree = aws.folder / "tree"
    (tree / "below").mkdir(parents=True)
    for file in ("a.txt", "below/é +&.txt"):
        (tree / file).write_text(file)
    assert aws("s3", "sync", "tree", f"{bucket}/tree", "--no-progress").count("upload:") == 2
    assert aws("s3", "sync", "tree", f"{bucket}/tree", "--no-progress") == "", "nothing to do"
    (tree / "a.txt").unlink()
    deleted = aws("s3", "sync", "tree", f"{bucket}/tree", "--delete", "--no-progress")
    assert deleted == f"delete: {bucket}/tree/a.txt\n"
    listed = aws("s3", "ls", bucket, "--recursive", "--summarize")
    assert "moved.bin" in listed
    assert "tree/below/é +&.txt" in listed
    assert "Total Objects: 2" in listed
    aws("s3", "sync", f"{bucket}/tree", "copy", "--no-progress")
    assert (aws.folder / "copy" / "below" / "é +&.txt").read_text() == "below/é +&.txt"
    # Through the proxy the CLI would write AWS's own host into the URL.
    here = ("--expires-in", "60", "--endpoint-url", stagedoor.api)
    url = aws("s3", "presign", f"{bucket}/tree/below/é +&.txt", *here).strip()
    assert fetch(url) == (200, "below/é +&.txt".encode())
    assert fetch(url.replace("below", "other"))[0] == 403
    code, said = aws.fails("s3", "rb", bucket)
    assert (code, "BucketNotEmpty" in said) == (1, True)
    aws("s3", "rm", f"{bucket}/tree", "--recursive")
    aws("s3", "rm", f"{bucket}/moved.bin")
    assert aws("s3", "rb", bucket) == f"remove_bucket: {name}\n"


def test_parts_of_trees_both_ways_and_streams(either_aws: Cli, name: str) -> None:
    aws, bucket = either_aws, f"s3://{name}"
    aws("s3", "mb", bucket)
    for file in ("a.csv", "b.txt", "deep/c.csv", "deep/d.log"):
        path = aws.folder / "data" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file)
    only_tables = ("--exclude", "*", "--include", "*.csv", "--no-progress")
    copied = aws("s3", "cp", "data", f"{bucket}/data", "--recursive", *only_tables)
    assert sorted(line.split()[-1] for line in copied.splitlines()) == [
        f"{bucket}/data/a.csv",
        f"{bucket}/data/deep/c.csv",
    ]
    aws("s3", "cp", "-", f"{bucket}/data/from-a-pipe.csv", given="1,2\n")
    assert aws("s3", "cp", f"{bucket}/data/from-a-pipe.csv", "-") == "1,2\n"
    (aws.folder / "back").mkdir()
    (aws.folder / "back" / "not-in-the-bucket").write_text("")
    aws("s3", "sync", f"{bucket}/data", "back", "--delete", "--no-progress")
    assert sorted(path.name for path in (aws.folder / "back").rglob("*.*")) == [
        "a.csv",
        "c.csv",
        "from-a-pipe.csv",
    ]
    assert not (aws.folder / "back" / "not-in-the-bucket").exists()
    aws("s3", "mv", f"{bucket}/data", f"{bucket}/moved", "--recursive", "--exclude", "deep/*")
    listed = aws("s3", "ls", f"{bucket}/", "--recursive")
    assert [line.split()[-1] for line in listed.splitlines()] == [
        "data/deep/c.csv",
        "moved/a.csv",
        "moved/from-a-pipe.csv",
    ]
    assert aws("s3", "ls", f"{bucket}/").split() == ["PRE", "data/", "PRE", "moved/"]
    removed = aws("s3", "rm", f"{bucket}/moved", "--recursive", "--exclude", "*", "--include", "a.*")
    assert removed == f"delete: {bucket}/moved/a.csv\n"
    assert aws("s3", "rb", bucket, "--force").endswith(f"remove_bucket: {name}\n")


def test_a_website(aws: Cli, stagedoor: Server, name: str) -> None:
    aws("s3", "mb", f"s3://{name}")
    (aws.folder / "index.html").write_bytes(PAGE)
    aws("s3", "cp", "index.html", f"s3://{name}/")
    aws("s3", "website", f"s3://{name}", "--index-document", "index.html")
    site = f"{stagedoor.public}/_aws/s3-website/{name}/"
    assert fetch(site)[0] == 403
    aws("s3api", "delete-public-access-block", "--bucket", name)
    allow = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": "s3:GetObject",
        "Resource": f"arn:aws:s3:::{name}/*",
    }
    (aws.folder / "policy.json").write_text(json.dumps({"Version": "2012-10-17", "Statement": [allow]}))
    aws("s3api", "put-bucket-policy", "--bucket", name, "--policy", "file://policy.json")
    assert fetch(site) == (200, PAGE)


def test_a_function_its_api_and_its_logs(aws: Cli, stagedoor: Server, name: str) -> None:
    (aws.folder / "trust.json").write_text(trust({"Service": "lambda.amazonaws.com"}))
    role = aws(
        *("iam", "create-role", "--role-name", name, "--assume-role-policy-document", "file://trust.json"),
        *("--query", "Role.Arn", "--output", "text"),
    ).strip()
    policy = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
    aws("iam", "attach-role-policy", "--role-name", name, "--policy-arn", policy)
    code = "def handler(event, context):\n    print('asked', VERSION)\n    return {'statusCode': 200, 'body': VERSION}\n"
    for version in ("one", "two"):
        (aws.folder / f"{version}.zip").write_bytes(zipped(f"VERSION = '{version}'\n{code}"))
    function = aws.json(
        *("lambda", "create-function", "--function-name", name, "--runtime", "python3.12", "--role", role),
        *("--handler", "app.handler", "--zip-file", "fileb://one.zip"),
    )["FunctionArn"]
    aws("lambda", "wait", "function-active-v2", "--function-name", name)
    aws("lambda", "invoke", "--function-name", name, "--payload", "{}", "out.json")
    assert json.loads((aws.folder / "out.json").read_text())["body"] == "one"
    aws("lambda", "update-function-code", "--function-name", name, "--zip-file", "fileb://two.zip")
    aws("lambda", "wait", "function-updated", "--function-name", name)

    api = aws.json("apigateway", "create-rest-api", "--name", name)
    place = ("--rest-api-id", api["id"])
    resource = aws.json(
        "apigateway", "create-resource", *place, "--parent-id", api["rootResourceId"], "--path-part", "ask"
    )["id"]
    method = (*place, "--resource-id", resource, "--http-method", "POST")
    aws("apigateway", "put-method", *method, "--authorization-type", "NONE")
    aws(
        *(
            "apigateway",
            "put-integration",
            *method,
            "--type",
            "AWS_PROXY",
            "--integration-http-method",
            "POST",
        ),
        "--uri",
        f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{function}/invocations",
    )
    aws("apigateway", "create-deployment", *place, "--stage-name", "prod")
    url = f"{stagedoor.public}/_aws/execute-api/{api['id']}/prod/ask"
    assert fetch(url, b"x")[0] == 500, "nobody may call the function yet"
    aws(
        *("lambda", "add-permission", "--function-name", name, "--statement-id", "api"),
        *("--action", "lambda:InvokeFunction", "--principal", "apigateway.amazonaws.com"),
        *("--source-arn", f"arn:aws:execute-api:us-east-1:{stagedoor.account_id}:{api['id']}/*/POST/ask"),
    )
    assert fetch(url, b"x") == (200, b"two")
    self_test = aws.json("apigateway", "test-invoke-method", *method, "--path-with-query-string", "/ask")
    assert (self_test["status"], self_test["body"]) == (200, "two")

    group = f"/aws/lambda/{name}"
    events = ("logs", "filter-log-events", "--log-group-name", group)
    until(lambda: aws(*events).count("REPORT RequestId") == 3)
    found = aws.json(*events, "--filter-pattern", "asked two")
    assert [event["message"] for event in found["events"]] == ["asked two\n", "asked two\n"]
    streams = aws.json(
        "logs", "describe-log-streams", "--log-group-name", group, "--order-by", "LastEventTime"
    )
    stream = streams["logStreams"][0]["logStreamName"]
    read = ("logs", "get-log-events", "--log-group-name", group, "--log-stream-name", stream)
    told = aws(*read, "--start-from-head", "--query", "events[].message", "--output", "text")
    assert told.startswith("START RequestId")
    assert "asked one" in told


def until(true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline_s


def test_hosting_a_model(aws: Cli, name: str) -> None:
    booster = train(seed=3)
    (aws.folder / "model.tar.gz").write_bytes(model_archive(booster))
    (aws.folder / "rows.csv").write_text(CSV)
    (aws.folder / "trust.json").write_text(trust({"Service": "sagemaker.amazonaws.com"}))
    aws("s3", "mb", f"s3://{name}")
    aws("s3", "cp", "model.tar.gz", f"s3://{name}/")
    role = aws.json(
        *("iam", "create-role", "--role-name", name, "--assume-role-policy-document", "file://trust.json")
    )["Role"]["Arn"]
    reading = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
    aws("iam", "attach-role-policy", "--role-name", name, "--policy-arn", reading)
    aws(
        *("sagemaker", "create-model", "--model-name", name, "--execution-role-arn", role),
        *("--primary-container", f"Image={IMAGE},ModelDataUrl=s3://{name}/model.tar.gz"),
    )
    aws(
        *("sagemaker", "create-endpoint-config", "--endpoint-config-name", name, "--production-variants"),
        f"VariantName=AllTraffic,ModelName={name},InstanceType=ml.m5.large,InitialInstanceCount=1",
    )
    endpoint = ("--endpoint-name", name)
    arn = aws.json("sagemaker", "create-endpoint", *endpoint, "--endpoint-config-name", name)["EndpointArn"]
    assert arn.endswith(f":endpoint/{name}")
    until(lambda: "InService" in aws("sagemaker", "describe-endpoint", *endpoint))
    asked = ("--content-type", "text/csv", "--body", "fileb://rows.csv")
    answer = aws.json("sagemaker-runtime", "invoke-endpoint", *endpoint, *asked, "answer.csv")
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    answers = numbers((aws.folder / "answer.csv").read_bytes())
    assert answers == pytest.approx(scores(booster, ROWS), abs=1e-6)
    listed = aws("sagemaker", "list-endpoints", "--name-contains", name, "--output", "text")
    assert listed.split()[-1] == "InService" or "InService" in listed
    aws("sagemaker", "delete-endpoint", *endpoint)
    until(lambda: aws.run("sagemaker", "describe-endpoint", *endpoint).returncode == SERVICE_ERROR)
    assert aws.json("sagemaker", "list-models", "--name-contains", name)["Models"][0]["ModelName"] == name


@pytest.mark.parametrize(
    ("command", "code", "says"),
    [
        ("s3 ls s3://no-such-bucket-here", SERVICE_ERROR, "(NoSuchBucket) when calling the ListObjectsV2"),
        ("s3 cp s3://no-such-bucket-here/key .", 1, "404"),
        ("s3 mb s3://Not_A_Bucket", 1, "InvalidBucketName"),
        ("s3api get-object --bucket no-such-bucket-here --key k out", SERVICE_ERROR, "(NoSuchBucket)"),
        ("iam get-role --role-name nobody", SERVICE_ERROR, "(NoSuchEntity) when calling the GetRole"),
        ("iam create-role --role-name r --assume-role-policy-document {", SERVICE_ERROR, "(MalformedPolicyDocument)"),
        ("lambda invoke --function-name nothing out", SERVICE_ERROR, "(ResourceNotFoundException)"),
        ("apigateway get-rest-api --rest-api-id nothing", SERVICE_ERROR, "(NotFoundException)"),
        ("sagemaker describe-endpoint --endpoint-name nothing", SERVICE_ERROR, "Could not find endpoint"),
        ("sagemaker describe-endpoint --endpoint-name a_b", SERVICE_ERROR, "failed to satisfy constraint"),
        ("sagemaker-runtime invoke-endpoint --endpoint-name nothing --body x out", SERVICE_ERROR, "(ValidationError)"),
        ("sagemaker describe-notebook-instance --notebook-instance-name n", SERVICE_ERROR, "DescribeNotebookInstance"),
        ("logs filter-log-events --log-group-name /no/such/group", SERVICE_ERROR, "(ResourceNotFoundException)"),
        ("sts assume-role --role-arn arn:aws:iam::000000000000:role/none --role-session-name session", SERVICE_ERROR,
         "(AccessDenied)"),
        ("sagemaker create-endpoint --endpoint-name e", USAGE_ERROR, "--endpoint-config-name"),
    ],
)  # fmt: skip
def test_mistakes_are_told_and_exit_with_an_error(aws: Cli, command: str, code: int, says: str) -> None:
    found, said = aws.fails(*command.split())
    assert found == code, said
    assert says in said


def test_wrong_keys_are_told(aws: Cli) -> None:
    wrong = Cli(aws.program, aws.folder, aws.environment | {"AWS_SECRET_ACCESS_KEY": "wrong"})
    code, said = wrong.fails("sagemaker", "list-endpoints")
    assert (code, "(InvalidSignatureException)" in said) == (SERVICE_ERROR, True)
    unknown = Cli(aws.program, aws.folder, aws.environment | {"AWS_ACCESS_KEY_ID": "AKIAUNKNOWNUNKNOWN00"})
    code, said = unknown.fails("s3", "ls")
    assert (code, "(InvalidAccessKeyId)" in said) == (SERVICE_ERROR, True)
