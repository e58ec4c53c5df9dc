"""Servers whose runtimes for frameworks have their packages, and what tests of scripts need around them."""

import io
import tarfile
import tempfile
import textwrap
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from journeys import client_environments
from services.job_clients import Desk, waited

from stagedoor.testing import Server

REGISTRY = "683313688378.dkr.ecr.us-east-1.amazonaws.com"
SKLEARN = f"{REGISTRY}/sagemaker-scikit-learn:0.23-1-cpu-py3"
XGBOOST = f"{REGISTRY}/sagemaker-xgboost:0.90-2-cpu-py3"
PYTORCH = f"{REGISTRY}/sagemaker-pytorch:0.4.0-cpu-py3"


def _wheel(folder: Path) -> None:
    """A package ``stagedoor-probe`` whose .pth file leaves a mark in ``folder`` when a Python that sees it starts."""
    mark = str(folder / "ran-outside")
    attempt = f"try: open({mark!r}, 'w').close()\nexcept OSError: pass"
    files = {
        "stagedoor_probe.py": "text = 'installed'\n",
        "stagedoor_probe.pth": f"import os; exec({attempt!r})\n",
        "stagedoor_probe-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: stagedoor-probe\nVersion: 1.0\n",
        "stagedoor_probe-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in files) + "stagedoor_probe-1.0.dist-info/RECORD,,\n"
    with zipfile.ZipFile(folder / "stagedoor_probe-1.0-py3-none-any.whl", "w") as wheel:
        for name, text in {**files, "stagedoor_probe-1.0.dist-info/RECORD": record}.items():
            wheel.writestr(name, text)


def runtime_pythons() -> str:
    """The setting that gives a server scikit-learn for scripts."""
    return f"sklearn={client_environments.python_of('sklearn')}"


@contextmanager
def _with_runtimes(pythons: Mapping[str, Path]) -> Iterator[Server]:
    """A server with runtimes for scripts. It has no network for packages, but one package to install: ``stagedoor-probe``."""
    with tempfile.TemporaryDirectory(prefix="stagedoor-", ignore_cleanup_errors=True) as directory:
        wheels = Path(directory, "wheels")
        wheels.mkdir()
        _wheel(wheels)
        variables = {
            "STAGEDOOR_RUNTIME_PYTHONS": ",".join(f"{name}={python}" for name, python in pythons.items()),
            "UV_OFFLINE": "1",
            "UV_FIND_LINKS": str(wheels),
        }
        server = Server(Path(directory) / "data", variables).start()
        try:
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def framework_server() -> Iterator[Server]:
    """A server with scikit-learn in an environment of its own, shared by the tests of this process."""
    with _with_runtimes({"sklearn": client_environments.python_of("sklearn")}) as server:
        yield server


@pytest.fixture(scope="session")
def torch_server() -> Iterator[Server]:
    """A server with PyTorch and transformers, shared by the tests of this process; these are skipped where there is none."""
    python = client_environments.pytorch()
    if python is None:
        pytest.skip(client_environments.TORCH_WANTED)
    with _with_runtimes({"pytorch": python, "huggingface": python}) as server:
        yield server


def archive(files: Mapping[str, str | bytes]) -> bytes:
    """A tar.gz of text (indentation taken away) or bytes by name."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as target:
        for name, text in files.items():
            data = textwrap.dedent(text).encode() if isinstance(text, str) else text
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755
            target.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def unpacked(data: bytes) -> dict[str, bytes]:
    """The files of an archive by name."""
    with tarfile.open(fileobj=io.BytesIO(data)) as source:
        return {
            entry.name: file.read() for entry in source if (file := source.extractfile(entry)) is not None
        }


class Workbench(Desk):
    """A desk for scripts."""

    def source(self, files: Mapping[str, str | bytes]) -> str:
        """Upload a source archive; its URI."""
        self.put("code/sourcedir.tar.gz", archive(files))
        return f"s3://{self.bucket}/code/sourcedir.tar.gz"

    def ran(
        self,
        stem: str,
        files: Mapping[str, str | bytes],
        *,
        image: str = SKLEARN,
        program: str = "train.py",
        hyperparameters: Mapping[str, str] | None = None,
        metrics: list[dict[str, str]] | None = None,
        **members: Any,
    ) -> dict[str, Any]:
        """Train with a script in the form of the SDKs v1 and v2; the job at its end."""
        specification: dict[str, Any] = {"TrainingImage": image, "TrainingInputMode": "File"}
        if metrics:
            specification["MetricDefinitions"] = metrics
        request = {
            "AlgorithmSpecification": specification,
            "HyperParameters": {
                "sagemaker_program": f'"{program}"',
                "sagemaker_submit_directory": f'"{self.source(files)}"',
                "sagemaker_region": '"us-east-1"',
                "sagemaker_job_name": f'"{self.name(stem)}"',
                "sagemaker_container_log_level": "20",
                **(hyperparameters or {}),
            },
        }
        return self.trained(stem, **{**request, **members})

    def log(self, group: str, name: str) -> str:
        """All that a job printed."""
        answer = self.logs.filter_log_events(logGroupName=group, logStreamNamePrefix=f"{name}/")
        return "\n".join(event["message"] for event in answer["events"])

    def log_so_far(self, group: str, name: str) -> str:
        """The same of something that may not have printed anything yet."""
        try:
            return self.log(group, name)
        except self.logs.exceptions.ResourceNotFoundException:
            return ""

    def training_log(self, stem: str) -> str:
        return self.log("/aws/sagemaker/TrainingJobs", self.name(stem))

    def hosted(
        self, stem: str, image: str, model_data: str, environment: Mapping[str, str]
    ) -> dict[str, Any]:
        """An endpoint with one model of that image; the endpoint when it is not Creating any more."""
        name = self.name(stem)
        container = {"Image": image, "ModelDataUrl": model_data, "Environment": dict(environment)}
        self.sagemaker.create_model(
            ModelName=name, ExecutionRoleArn=self.role_arn, PrimaryContainer=container
        )
        variant = {
            "VariantName": "all",
            "ModelName": name,
            "InitialInstanceCount": 1,
            "InstanceType": "ml.m5.large",
        }
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        return waited(
            lambda: self.sagemaker.describe_endpoint(EndpointName=name),
            lambda answer: answer["EndpointStatus"] != "Creating",
        )

    def asked(self, stem: str, body: bytes, content_type: str, accept: str = "*/*") -> tuple[bytes, str]:
        """The endpoint's answer and its content type."""
        answer = self.server.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=self.name(stem), Body=body, ContentType=content_type, Accept=accept
        )
        return answer["Body"].read(), answer["ContentType"]

    def processing_request(self, stem: str, command: list[str], **members: Any) -> dict[str, Any]:
        cluster = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5}
        return {
            "ProcessingJobName": self.name(stem),
            "AppSpecification": {"ImageUri": SKLEARN, "ContainerEntrypoint": command},
            "ProcessingResources": {"ClusterConfig": cluster},
            "RoleArn": self.role_arn,
        } | members

    def processing_input(self, name: str, prefix: str, **members: str) -> dict[str, Any]:
        source = {
            "S3Uri": f"s3://{self.bucket}/{prefix}",
            "LocalPath": f"/opt/ml/processing/input/{name}",
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
        }
        return {"InputName": name, "S3Input": source | members}

    def processing_output(self, name: str, mode: str = "EndOfJob") -> dict[str, Any]:
        target = {
            "S3Uri": f"s3://{self.bucket}/out/{name}",
            "LocalPath": f"/opt/ml/processing/output/{name}",
            "S3UploadMode": mode,
        }
        return {"OutputName": name, "S3Output": target}

    def processed(self, stem: str, command: list[str], **members: Any) -> dict[str, Any]:
        """Create a processing job, wait for its end, describe it."""
        self.sagemaker.create_processing_job(**self.processing_request(stem, command, **members))
        return self.ended_processing(stem)

    def python_request(self, stem: str, text: str, **members: Any) -> dict[str, Any]:
        """A processing job whose input ``script`` is a Python program that it runs."""
        self.put("code/script.py", text)
        inputs = [self.processing_input("script", "code/script.py"), *members.pop("ProcessingInputs", [])]
        command = ["python3", "/opt/ml/processing/input/script/script.py"]
        return self.processing_request(stem, command, ProcessingInputs=inputs, **members)

    def ran_python(self, stem: str, text: str, **members: Any) -> dict[str, Any]:
        """Run it to its end and describe it."""
        self.sagemaker.create_processing_job(**self.python_request(stem, text, **members))
        return self.ended_processing(stem)

    def ended_processing(self, stem: str) -> dict[str, Any]:
        return waited(
            lambda: self.sagemaker.describe_processing_job(ProcessingJobName=self.name(stem)),
            lambda answer: answer["ProcessingJobStatus"] in ("Completed", "Failed", "Stopped"),
        )

    def processing_log(self, stem: str) -> str:
        return self.log("/aws/sagemaker/ProcessingJobs", self.name(stem))
