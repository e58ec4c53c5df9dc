"""BlazingText: labels and vectors against fastText itself, every mode, what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from worker.algorithm_jobs import AlgorithmJob, ask

from stagedoor.worker.algorithms.failures import ModelFileError
from stagedoor.worker.algorithms.word_similarity import agreement, installed_pairs
from stagedoor.worker.job import JobFailed
from stagedoor.worker.model import Fault, Result

fasttext: Any = pytest.importorskip("fasttext")

GOOD, BAD = "great lovely fine wonderful nice".split(), "awful poor dull terrible bad".split()
SMALL = {"vector_dim": 10, "buckets": 2000, "min_count": 1}
SUPERVISED = SMALL | {"mode": "supervised", "epochs": 10, "learning_rate": 0.3}


@pytest.fixture
def job(tmp_path: Path) -> AlgorithmJob:
    return AlgorithmJob("blazingtext", tmp_path / "ml")


def reviews(seed: int = 1, count: int = 300) -> bytes:
    random = np.random.default_rng(seed)
    lines = []
    for number in range(count):
        words = random.choice((GOOD if number % 2 else BAD) + ["the", "film", "was", "a", "plot"], 8)
        lines.append(f"__label__{number % 2} {' '.join(words)}")
    return "\n".join(lines).encode() + b"\n"


def test_a_classifier_answers_as_fasttext_does(job: AlgorithmJob, capsys: pytest.CaptureFixture[str]) -> None:
    job.channel("train", "text/plain", reviews())
    job.channel("validation", "text/plain", reviews(2))
    job.train(**SUPERVISED, word_ngrams=2)
    printed = capsys.readouterr().out
    assert "#validation_accuracy: 1.0000\nNumber of validation examples: 300\n" in printed
    opened = fasttext.load_model(str(job.model_dir / "model.bin"))
    texts = ["a great\nplot", "dull dull film", "unknown words only", ""]
    body = json.dumps({"instances": texts, "configuration": {"k": 5}})
    found = ask(job.load(), body, "application/json")
    assert isinstance(found, Result)
    for text, answer in zip(texts, json.loads(found.body), strict=True):
        labels, chances = opened.predict(text.replace("\n", " "), k=2)
        assert answer["label"] == list(labels)
        np.testing.assert_allclose(answer["prob"], np.minimum(chances, 1), atol=1e-6)
    lines = ask(
        job.load(), '{"source": "great film", "k": 2}\n\n{"source": "bad"}\n', "application/jsonlines"
    )
    assert isinstance(lines, Result)
    assert [len(json.loads(line)["label"]) for line in lines.body.splitlines()] == [2, 1]


def test_several_files_are_one_text(job: AlgorithmJob, capsys: pytest.CaptureFixture[str]) -> None:
    job.channel("train", None, reviews(1).rstrip(), reviews(2))
    job.train(**SUPERVISED)
    assert "Number of train examples: 600" in capsys.readouterr().out


def test_epochs_end_when_the_validation_data_gains_nothing(
    job: AlgorithmJob, capsys: pytest.CaptureFixture[str]
) -> None:
    job.channel("train", None, reviews())
    job.channel("validation", None, reviews(2))
    job.train(**SUPERVISED | {"epochs": 40}, early_stopping="True", min_epochs=3, patience=2)
    printed = capsys.readouterr().out
    assert "End of epoch: 3" in printed
    assert "Reached early stopping condition" in printed
    assert "End of epoch: 2\n" not in printed
    assert "End of epoch: 40" not in printed
    assert "#validation_accuracy: 1.0000" in printed


@pytest.mark.parametrize("mode", ["skipgram", "cbow", "batch_skipgram"])
def test_word_vectors_are_in_both_files(
    job: AlgorithmJob, mode: str, capsys: pytest.CaptureFixture[str]
) -> None:
    job.channel("train", None, reviews())
    job.train(**SMALL, mode=mode, window_size=3, negative_samples=4, sampling_threshold=0.001, batch_size=7)
    opened = fasttext.load_model(str(job.model_dir / "vectors.bin"))
    head, *lines = (job.model_dir / "vectors.txt").read_text().splitlines()
    assert head == f"{len(lines)} 10"
    assert {line.split()[0] for line in lines} == set(opened.words) - {"</s>"}
    for line in lines:
        word, *numbers = line.split()
        np.testing.assert_allclose(
            [float(number) for number in numbers], opened.get_word_vector(word), atol=1e-5
        )
    found = ask(job.load(), json.dumps({"instances": ["great", "greatest"]}), "application/json")
    assert isinstance(found, Result)
    known, unknown = json.loads(found.body)
    np.testing.assert_allclose(known["vector"], opened.get_word_vector("great"), atol=1e-6)
    assert unknown == {"vector": [0.0] * 10, "word": "greatest"}
    if installed_pairs() is None:
        assert not (job.model_dir / "eval.json").exists()
    printed = capsys.readouterr().out
    assert "WordSim-353" in printed
    assert "Hyperparameter batch_size has no effect here" in printed


def test_a_model_of_fasttext_itself_is_served(job: AlgorithmJob, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(reviews())
    fasttext.train_supervised(str(tmp_path / "t.txt"), dim=8, bucket=100, verbose=0).save_model(
        str(job.model_dir / "language.bin")
    )
    found = ask(job.load(), json.dumps({"instances": ["great lovely"]}), "application/json")
    assert isinstance(found, Result)
    assert json.loads(found.body)[0]["label"] == ["__label__1"]


@pytest.mark.parametrize(
    ("options", "data", "text"),
    [
        ({}, b"", "No data in training channel path"),
        ({}, b"\n \n", "its files have no lines"),
        ({}, b"no label here\n", "No line of the 'train' channel has a label"),
        ({}, b"__label__1 \xff\xfe\n", "Line 1 of file 'part-0' is not UTF-8 text"),
        ({"window_size": 3}, b"__label__1 a\n", "window_size cannot be used with mode supervised"),
        ({"mode": "cbow", "word_ngrams": 2}, b"a b\n", "word_ngrams cannot be used with mode cbow"),
        ({"mode": "poetry"}, b"a b\n", "Hyperparameter mode: poetry is not in"),
        ({"early_stopping": "true"}, b"__label__1 a\n", "early_stopping needs a validation channel"),
        ({"mode": "skipgram", "min_count": 5}, b"a b\n", "fastText cannot train on this: Empty vocabulary"),
        (
            {"mode": "skipgram", "subwords": "true", "min_char": 7},
            b"a b\n",
            "min_char must not be greater than max_char",
        ),
    ],
)
def test_what_is_refused(job: AlgorithmJob, options: dict[str, Any], data: bytes, text: str) -> None:
    job.channel("train", "text/plain", data)
    given = SMALL | {"mode": "supervised"} | options
    with pytest.raises(JobFailed) as refusal:
        job.train(**given)
    assert str(refusal.value).startswith("ClientError: ")
    assert text in str(refusal.value)
    assert not list(job.model_dir.iterdir())


def test_word_vectors_have_no_validation(job: AlgorithmJob) -> None:
    job.channel("train", None, b"a b c\n")
    job.channel("validation", None, b"a b c\n")
    with pytest.raises(JobFailed, match="Extraneous channel found: validation"):
        job.train(**SMALL, mode="cbow")


@pytest.mark.parametrize(
    ("body", "content_type", "status", "text"),
    [
        ("great", "text/plain", 415, "text/plain not supported"),
        ("{", "application/json", 400, "unable to evaluate payload provided"),
        ('{"instances": []}', "application/json", 400, 'the body must be {"instances"'),
        ('{"instances": [1]}', "application/json", 400, "instance 1 is not a text"),
        (
            '{"instances": ["a"], "configuration": {"k": 0}}',
            "application/json",
            400,
            "k must be a whole number",
        ),
        ('{"text": "a"}\n', "application/jsonlines", 400, "instance 1 is not a text"),
        ("", "application/jsonlines", 400, "the body is empty"),
    ],
)
def test_requests_that_cannot_be_answered(
    job: AlgorithmJob, body: str, content_type: str, status: int, text: str
) -> None:
    job.channel("train", None, reviews())
    job.train(**SUPERVISED)
    fault = ask(job.load(), body, content_type)
    assert isinstance(fault, Fault)
    assert (fault.status, text in fault.reason) == (status, True), fault.reason


@pytest.mark.parametrize("content", [None, b"", b"not a model", b"\xba\x16\x4f\x2f" * 8])
def test_files_that_are_no_model(job: AlgorithmJob, content: bytes | None) -> None:
    if content is not None:
        (job.model_dir / "model.bin").write_bytes(content)
    with pytest.raises(ModelFileError, match=r"model\.bin"):
        job.load()


def test_a_stop_ends_training_while_the_library_works(job: AlgorithmJob) -> None:
    job.channel("train", None, reviews(count=5000))
    with pytest.raises(JobFailed, match="was stopped"):
        job.train(lambda: True, **SUPERVISED | {"epochs": 2000})
    assert not list(job.model_dir.iterdir())


def test_vectors_that_rank_pairs_as_people_do_agree_fully() -> None:
    vectors = {"a": [1.0, 0.0], "b": [1.0, 0.1], "c": [0.0, 1.0]}

    def vector(word: str) -> Any:
        return np.array(vectors[word], np.float32) if word in vectors else None

    pairs = [("a", "b", 9.0), ("b", "c", 3.0), ("a", "c", 1.0), ("a", "unknown", 10.0)]
    found = agreement(vector, pairs)
    assert found.rho == pytest.approx(1.0)
    assert (found.pairs, found.not_found) == (4, 1)
    turned = [(first, second, -score) for first, second, score in pairs]
    assert agreement(vector, turned).rho == pytest.approx(-1.0)
    assert agreement(vector, pairs[3:]).rho is None
