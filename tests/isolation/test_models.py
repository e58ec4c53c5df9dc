"""Hostile model data on a real server: pickles that run code, archives that lead outside, objects that were replaced."""

import base64
import gzip
import io
import json
import pickle
import tarfile
import threading
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
from living import paths_under

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


def with_mode(name: str, mode: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mode = mode
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


def failure(target: Target, name: str, archive: bytes, patience_s: float = 60) -> str:
    """The FailureReason of an endpoint with this model data; it must fail."""
    make_endpoint(target, name, archive)
    sagemaker = target.server.client("sagemaker")
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        found = sagemaker.describe_endpoint(EndpointName=name)
        if found["EndpointStatus"] != "Creating":
            assert found["EndpointStatus"] == "Failed"
            sagemaker.delete_endpoint(EndpointName=name)
            return found["FailureReason"]
        time.sleep(0.05)
    raise AssertionError("still Creating")


def test_case_30_a_pickle_runs_only_where_nothing_can_be_reached(target: Target) -> None:
    needs(target, "private-root", "landlock-files")
    data = str(target.data)
    sockets = str((target.data / "scratch" / ".sockets").readlink())
    code = f"""
result = [attempt(action) for action in (
    lambda: read({data!r} + "/keys.json"),
    lambda: read({data!r} + "/state.sqlite"),
    lambda: os.listdir({sockets!r}),
    lambda: read("/proc/{target.pid}/environ"),
    lambda: read("/proc/{target.pid}/mem"),
    lambda: write({data!r} + "/written"),
    lambda: write("/usr/written"),
    lambda: connect_tcp({target.port("api")}),
    lambda: connect_tcp(80, "169.254.169.254"),
    lambda: os.kill({target.pid}, 9),
)]
result = [outcome[:25] for outcome in result]
"""
    reason = failure(target, "pickled", tar(("xgboost-model", pickle.dumps(RunsCode(code)))))
    outcomes = _told(reason)
    assert len(outcomes) == 10
    assert all(map(failed, outcomes)), outcomes
    assert not (target.data / "written").exists()


def _told(reason: str) -> Any:
    """What ``RunsCode`` found, out of the FailureReason."""
    return json.loads(base64.b64decode(reason.partition("<<")[2].partition(">>")[0]))


def test_case_30_a_pickle_sees_no_secret_and_no_other_process(target: Target) -> None:
    needs(target, "own-process-numbers")
    code = """
import glob
texts = []
for path in glob.glob("/proc/*/environ") + glob.glob("/proc/*/cmdline"):
    outcome = attempt(lambda: open(path, "rb").read().decode("latin-1"))
    texts.append(outcome)
result = [" ".join(os.environ) + " ".join(os.environ.values()), texts, len(glob.glob("/proc/[0-9]*"))]
result[1] = [any(word in text for text in texts) for word in ("stagedoor up", "--data")]
result[0] = [word in result[0] for word in ("SECRET", "session_secret", "AKIA", "ASIA")]
"""
    words, shown, processes = _told(
        failure(target, "curious", tar(("xgboost-model", pickle.dumps(RunsCode(code)))))
    )
    assert words == [False] * 4
    assert shown == [False] * 2
    assert processes <= 3


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        # Each round doubles them; the pauses leave the cores to the other tests.
        ("forks", "import time\nwhile True:\n    os.fork()\n    time.sleep(0.2)\nresult = 1"),
        ("memory", "held = []\nwhile True:\n    held.append(b'x' * 2**22)\nresult = 1"),
        (
            "prints",
            "line = b'x' * 262_000 + b'\\n'\nfor _ in range(4_100):\n    os.write(1, line)\nresult = 1",
        ),
    ],
    ids=["forks", "memory", "prints"],
)
def test_case_30_a_pickle_that_takes_all_it_can_ends_alone(target: Target, kind: str, code: str) -> None:
    needs(target, "process-limit")
    peak, over = target.rss_bytes(), threading.Event()
    before = peak

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.05):
            peak = max(peak, target.rss_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        reason = failure(target, kind, tar(("xgboost-model", pickle.dumps(RunsCode(code)))), 240)
    finally:
        over.set()
        watcher.join()
    assert peak < before + 96 * 2**20
    if kind != "prints":
        # The fork bomb gets no more processes, or is ended for having too many; the hog is ended.
        assert "Resource temporarily unavailable" in reason or "signal 9" in reason
    assert target.run("result = 5") == 5
    target.server.client("logs").delete_log_group(logGroupName=f"/aws/sagemaker/Endpoints/{kind}")


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


def _nul_in_name() -> bytes:
    """Only an extended header can say such a name."""
    info = tarfile.TarInfo("short")
    info.pax_headers = {"path": "a\0b"}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info)
    return packed.getvalue()


OUTSIDE: dict[str, tuple[Callable[[], bytes], str]] = {
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
    "nul": (_nul_in_name, "unusable name"),
    "setuid": (lambda: tar(with_mode("program", 0o4755)), "setuid"),
    "setgid": (lambda: tar(with_mode("program", 0o2755)), "setuid"),
    "many": (_many_entries, "more than 100000 entries"),
}
BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "bomb": (_bomb, "larger than"),
    "header-bomb": (_header_bomb, "header of"),
}
DAMAGED: dict[str, tuple[Callable[[], bytes], str]] = {
    "truncated": (lambda: tar(("xgboost-model", bytes(range(256)) * 4096))[:1500], "damaged"),
    "no-tar": (lambda: b"this is no archive at all", "damaged"),
    "two-layers": (lambda: gzip.compress(tar(("xgboost-model", b"x"))), "damaged"),
    "empty": (lambda: b"", "damaged"),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_case_27_an_archive_that_leads_outside_fails_the_endpoint(target: Target, name: str) -> None:
    _refused(target, name, *OUTSIDE[name])


@pytest.mark.parametrize("name", BOMBS)
def test_case_28_a_bomb_stops_at_the_limit(target: Target, name: str) -> None:
    _refused(target, name, *BOMBS[name])


@pytest.mark.parametrize("name", DAMAGED)
def test_case_29_what_is_no_archive_fails_with_a_reason(target: Target, name: str) -> None:
    _refused(target, name, *DAMAGED[name])


def test_case_29_a_model_without_its_data_is_not_made(target: Target) -> None:
    target.server.client("s3").create_bucket(Bucket=BUCKET)
    sagemaker = target.server.client("sagemaker")
    with pytest.raises(ClientError) as raised:
        sagemaker.create_model(
            ModelName="nothing",
            PrimaryContainer={"Image": IMAGE, "ModelDataUrl": f"s3://{BUCKET}/nothing.tar.gz"},
            ExecutionRoleArn=_role(target),
        )
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert raised.value.response["Error"]["Code"] == "ValidationException"
    assert raised.value.response["Error"]["Message"].startswith("Could not find model data")
    with pytest.raises(ClientError):
        sagemaker.describe_model(ModelName="nothing")


def _refused(target: Target, name: str, make: Callable[[], bytes], expected: str) -> None:
    before = set(paths_under(target.data.parent, "*escaped*"))
    reason = failure(target, name, make())
    assert reason.startswith("Failed to extract model data archive")
    assert expected in reason
    assert set(paths_under(target.data.parent, "*escaped*")) == before
    assert not Path("/tmp/escaped").exists()
    # What was extracted until then went with the worker.
    left = [
        path
        for path in paths_under(target.data / "scratch")
        if path.is_file() and path.stat().st_size > 2**20
    ]
    assert left == []


def test_case_31_replaced_model_data_is_not_loaded(target: Target) -> None:
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
def test_case_32_a_dangerous_package_is_refused_and_nothing_is_stored(target: Target, name: str) -> None:
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
