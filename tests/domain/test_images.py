"""Which local algorithm AWS's image URIs stand for."""

import tomllib
from pathlib import Path

import pytest

from stagedoor.domain import images
from stagedoor.worker.algorithms.specification import NAMES

REGISTRY = "683313688378.dkr.ecr.us-east-1.amazonaws.com"


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("xgboost:1", "1"),
        ("xgboost:latest", "latest"),
        ("xgboost", "latest"),
        ("sagemaker-xgboost:0.90-1-cpu-py3", "0.90-1"),
        ("sagemaker-xgboost:0.90-2", "0.90-2"),
        ("sagemaker-xgboost:1.7-1", "1.7-1"),
        ("sagemaker-xgboost:3.0-5", "3.0-5"),
        ("sagemaker-xgboost:1.2-2-cpu-py3", "1.2-2"),
    ],
)
def test_every_tag_of_xgboost_is_the_xgboost_algorithm(name: str, version: str) -> None:
    assert images.resolve(f"{REGISTRY}/{name}") == images.Algorithm("xgboost", version, "xgboost")


@pytest.mark.parametrize(
    ("name", "framework", "version"),
    [
        ("sagemaker-scikit-learn:0.23-1-cpu-py3", "sklearn", "0.23-1"),
        ("sagemaker-scikit-learn:1.2-1", "sklearn", "1.2-1"),
        ("sagemaker-pytorch:0.4.0-cpu-py3", "pytorch", "0.4.0"),
        ("pytorch-training:2.0.0-cpu-py310", "pytorch", "2.0.0"),
        ("pytorch-training:2.3.0-gpu-py311-cu121-ubuntu20.04-sagemaker", "pytorch", "2.3.0"),
        ("pytorch-inference:2.0.0-cpu-py310-ubuntu20.04-sagemaker", "pytorch", "2.0.0"),
        (
            "huggingface-pytorch-training:2.0.0-transformers4.28.1-gpu-py310-cu118-ubuntu20.04",
            "huggingface",
            "2.0.0-transformers4.28.1",
        ),
        ("sagemaker-base-python-310:1.0", "python", "1.0"),
    ],
)
def test_images_of_frameworks_are_runtimes_for_scripts(name: str, framework: str, version: str) -> None:
    expected = images.Algorithm(framework, version, framework, is_builtin=False)
    assert images.resolve(f"{REGISTRY}/{name}") == expected


@pytest.mark.parametrize(
    ("repository", "name"),
    [
        ("linear-learner", "linear_learner"),
        ("kmeans", "kmeans"),
        ("pca", "pca"),
        ("knn", "knn"),
        ("factorization-machines", "factorization_machines"),
        ("randomcutforest", "random_cut_forest"),
        ("blazingtext", "blazingtext"),
    ],
)
def test_the_other_algorithms_have_the_tags_1_and_latest(repository: str, name: str) -> None:
    for tag in ("1", "latest"):
        assert images.resolve(f"{REGISTRY}/{repository}:{tag}") == images.Algorithm(name, tag)
    assert images.resolve(f"{REGISTRY}/{repository}").name == name


def test_every_algorithm_is_specified() -> None:
    catalogue = tomllib.loads(Path(images.__file__).with_suffix(".toml").read_text())
    assert {entry["algorithm"] for entry in catalogue.values() if "algorithm" in entry} == set(NAMES)


def test_the_account_and_region_of_the_registry_do_not_matter() -> None:
    for registry in (
        "811284229777.dkr.ecr.eu-west-2.amazonaws.com",
        "390780980154.dkr.ecr.cn-north-1.amazonaws.com.cn",
    ):
        assert images.resolve(f"{registry}/xgboost:1").name == "xgboost"


@pytest.mark.parametrize(
    ("uri", "text"),
    [
        (f"{REGISTRY}/lda:1", "LDA"),
        (f"{REGISTRY}/kmeans:1.7-1", "no tag 1.7-1"),
        (f"{REGISTRY}/tensorflow-inference:2.12.1-cpu", "TensorFlow"),
        (f"{REGISTRY}/sagemaker-scikit-learn:newest", "no tag newest"),
        (f"{REGISTRY}/sagemaker-xgboost:gpu-nightly", "no tag gpu-nightly"),
        (f"{REGISTRY}/my-own-model:1", "not one of those"),
        ("docker.io/library/python:3.11", "not an Amazon ECR image URI"),
        ("file:///etc/passwd", "not an Amazon ECR image URI"),
        (f"{REGISTRY}/sagemaker-xgboost@sha256:{'0' * 64}", "digest"),
    ],
)
def test_what_cannot_be_used_is_named_with_the_reason_and_what_can(uri: str, text: str) -> None:
    with pytest.raises(images.UnsupportedImageError) as caught:
        images.resolve(uri)
    assert text in str(caught.value)
    assert "sagemaker-xgboost" in str(caught.value)
