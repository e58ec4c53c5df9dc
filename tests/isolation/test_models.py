"""Hostile model data on a real server: pickles that run code, archives that lead outside, objects that were replaced."""

import base64
import gzip
import io
import json
import pickle
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from isolation import attempts
from isolation.attempts import failed
from isolation.target import HANDLER, Target, needs

pytest.importorskip("xgboost")

BUCKET = "hostile-models"
IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"


class RunsCode:
    """Unpickling it runs code, which tells what came of it by the error it ends with."""

    def __init__(self, code: str) -> None:
        self._code = code

    def __reduce__(self) -> tuple[Any, ...]:
        ending = "\nimport base64, json\nraise RuntimeError('<<' + base64.b64encode(json.dumps(result).encode()).decode() + '>>')\n"
        return exec, (attempts.SOURCE + self._code + ending, {})


def tar(*entries: tuple[str, bytes] | tarfile.TarInfo) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                archive.addfile(entry)
            else:
                info = tarfile.TarInfo(entry[0])
                info.size = len(entry[1])
                archive.addfile(info, io.BytesIO(entry[1]))
    return packed.getvalue()


def special(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def make_endpoint(target: Target, name: str, archive: bytes) -> None:
    s3, sagemaker = target.server.client("s3"), target.server.client("sagemaker")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key=f"{name}.tar.gz", Body=archive)
    sagemaker.create_model(
        ModelName=name,
        PrimaryContainer={"Image": IMAGE, "ModelDataUrl": f"s3://{BUCKET}/{name}.tar.gz"},
        ExecutionRoleArn=_role(target),
    )
    variant = {
        "VariantName": "all",
        "ModelName": name,
        "InitialInstanceCount": 1,
        "InstanceType": "ml.m5.large",
    }
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)


def _role(target: Target) -> str:
    iam = target.server.client("iam")
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sagemaker.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    try:
        arn = iam.create_role(RoleName="hosting", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    except ClientError:
        return iam.get_role(RoleName="hosting")["Role"]["Arn"]
    iam.attach_role_policy(RoleName="hosting", PolicyArn="arn:aws:iam::aws:policy/AmazonS3FullAccess")
    return arn


def failure(target: Target, name: str, archive: bytes) -> str:
    """The FailureReason of an endpoint with this model data; it must fail."""
    make_endpoint(target, name, archive)
    sagemaker = target.server.client("sagemaker")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = sagemaker.describe_endpoint(EndpointName=name)
        if found["EndpointStatus"] != "Creating":
            assert found["EndpointStatus"] == "Failed"
            sagemaker.delete_endpoint(EndpointName=name)
            return found["FailureReason"]
        time.sleep(0.05)
    raise AssertionError("still Creating")


def test_a_pickle_runs_only_where_nothing_can_be_reached(target: Target) -> None:
    needs(target, "private-root", "landlock-files")
    data = str(target.data)
    code = f"""
result = [attempt(action) for action in (
    lambda: read({data!r} + "/keys.json"),
    lambda: read({data!r} + "/state.sqlite"),
    lambda: read("/proc/{target.pid}/environ"),
    lambda: write({data!r} + "/written"),
    lambda: write("/usr/written"),
    lambda: connect_tcp({target.port("api")}),
    lambda: connect_tcp(80, "169.254.169.254"),
    lambda: os.kill({target.pid}, 9),
)]
result = [outcome[:60] for outcome in result]
"""
    reason = failure(target, "pickled", tar(("xgboost-model", pickle.dumps(RunsCode(code)))))
    outcomes = json.loads(base64.b64decode(reason.partition("<<")[2].partition(">>")[0]))
    assert len(outcomes) == 8
    assert all(map(failed, outcomes)), outcomes
    assert not (target.data / "written").exists()


def _many_entries() -> bytes:
    header = special("folder", tarfile.DIRTYPE).tobuf()
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=1) as file:
        for _ in range(100):
            file.write(header * 1_001)
    return packed.getvalue()


def _bomb() -> bytes:
    """2 GB of zeros in 2 MB."""
    info = tarfile.TarInfo("zeros")
    info.size = 2 * 2**30
    piece = io.BytesIO()
    with gzip.GzipFile(fileobj=piece, mode="wb") as file:
        file.write(b"\0" * 64 * 2**20)
    # Gzip files one after the other are one stream: the zeros are packed once.
    return gzip.compress(info.tobuf()) + piece.getvalue() * 32


def _header_bomb() -> bytes:
    """A header that says its own text is 8 GB long."""
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 8 * 2**30
    return gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + b"\0" * 4096)


DANGEROUS: dict[str, tuple[Callable[[], bytes], str]] = {
    "slip": (lambda: tar(("../../escaped", b"x")), "lies outside of it"),
    "absolute": (lambda: tar(("/tmp/escaped", b"x")), "lies outside of it"),
    "through-link": (
        lambda: tar(special("d", tarfile.SYMTYPE, "/tmp"), ("d/escaped", b"x")),
        "absolute path",
    ),
    "hard-link": (lambda: tar(special("h", tarfile.LNKTYPE, "../../../keys.json")), "outside"),
    "device": (lambda: tar(special("null", tarfile.CHRTYPE)), "neither a file nor a folder"),
    "fifo": (lambda: tar(special("pipe", tarfile.FIFOTYPE)), "neither a file nor a folder"),
    "newline": (lambda: tar(("a\nb", b"x")), "unusable name"),
    "truncated": (lambda: tar(("xgboost-model", bytes(range(256)) * 4096))[:1500], "damaged"),
    "no-tar": (lambda: b"this is no archive at all", "damaged"),
    "many": (_many_entries, "more than 100000 entries"),
    "bomb": (_bomb, "larger than"),
    "header-bomb": (_header_bomb, "header of"),
}


@pytest.mark.parametrize("name", DANGEROUS)
def test_a_dangerous_archive_fails_the_endpoint_and_says_why(target: Target, name: str) -> None:
    make, expected = DANGEROUS[name]
    before = set(target.data.parent.rglob("*escaped*"))
    reason = failure(target, name, make())
    assert reason.startswith("Failed to extract model data archive")
    assert expected in reason
    assert set(target.data.parent.rglob("*escaped*")) == before
    assert not Path("/tmp/escaped").exists()
    # What was extracted until then went with the worker.
    left = [
        path
        for path in (target.data / "scratch").rglob("*")
        if path.is_file() and path.stat().st_size > 2**20
    ]
    assert left == []


def test_replaced_model_data_is_not_loaded(target: Target) -> None:
    s3, sagemaker = target.server.client("s3"), target.server.client("sagemaker")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key="replaced.tar.gz", Body=tar(("xgboost-model", b"a")))
    sagemaker.create_model(
        ModelName="replaced",
        PrimaryContainer={"Image": IMAGE, "ModelDataUrl": f"s3://{BUCKET}/replaced.tar.gz"},
        ExecutionRoleArn=_role(target),
    )
    s3.put_object(Bucket=BUCKET, Key="replaced.tar.gz", Body=tar(("xgboost-model", b"b")))
    variant = {
        "VariantName": "all",
        "ModelName": "replaced",
        "InitialInstanceCount": 1,
        "InstanceType": "ml.t2.medium",
    }
    sagemaker.create_endpoint_config(EndpointConfigName="replaced", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="replaced", EndpointConfigName="replaced")
    deadline = time.monotonic() + 60
    while (found := sagemaker.describe_endpoint(EndpointName="replaced"))["EndpointStatus"] == "Creating":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert found["EndpointStatus"] == "Failed"
    assert "replaced after CreateModel" in found["FailureReason"]


def _zip(*entries: tuple[zipfile.ZipInfo, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("app.py", HANDLER)
        for info, data in entries:
            archive.writestr(info, data)
    return packed.getvalue()


def _entry(name: str, mode: int = 0o100644) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def _encrypted() -> bytes:
    data = bytearray(_zip())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + offset] |= 1
    return bytes(data)


ZIPS: dict[str, Callable[[], bytes]] = {
    "slip": lambda: _zip((_entry("../escaped.py"), b"x")),
    "absolute": lambda: _zip((_entry("/tmp/escaped.py"), b"x")),
    "link": lambda: _zip((_entry("link", 0o120777), b"/etc/passwd")),
    "device": lambda: _zip((_entry("device", 0o020666), b"")),
    "twice": lambda: _zip((_entry("app.py"), b"x")),
    "encrypted": _encrypted,
    "bomb": lambda: _zip((_entry("zeros"), b"\0" * 262_144_001)),
    "no-zip": lambda: b"not a zip",
}


@pytest.mark.parametrize("name", ZIPS)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_dangerous_package_is_refused_and_nothing_is_stored(target: Target, name: str) -> None:
    client = target.server.client("lambda")
    with pytest.raises(ClientError) as raised:
        client.create_function(
            FunctionName=f"zip-{name}",
            Runtime="python3.12",
            Role=target.role,
            Handler="app.handler",
            Code={"ZipFile": ZIPS[name]()},
        )
    assert raised.value.response["Error"]["Code"] == "InvalidParameterValueException"
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function(FunctionName=f"zip-{name}")
