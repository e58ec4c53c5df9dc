"""The BlazingText algorithm's training, by fastText: a text classifier, or word vectors.

Place in the flow: ``worker.job_runner`` calls ``train``. The model is SageMaker's: ``model.bin`` for the classifier,
``vectors.bin`` and ``vectors.txt`` for word vectors; fastText opens both binaries, word2vec tools the text.
"""

import importlib
import json
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stagedoor.worker.algorithms.blazingtext_parameters import (
    check_mode,
    supervised_arguments,
    word_vector_arguments,
)
from stagedoor.worker.algorithms.channels import Channel
from stagedoor.worker.algorithms.failures import ClientError
from stagedoor.worker.algorithms.training_run import TrainingRun, begin, explained_failures
from stagedoor.worker.algorithms.word_similarity import SET_NAME, agreement, installed_pairs
from stagedoor.worker.job import Job

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# fastText brings no types.
fasttext: Any = importlib.import_module("fasttext")

MODEL_NAME, VECTORS_NAME = "model.bin", "vectors.bin"
_LABEL = b"__label__"
_END_OF_SENTENCE = "</s>"
_POLL_S = 0.1


def train(job: Job) -> None:
    """The job's entry; JobFailed as ``explained_failures`` has it."""
    with explained_failures():
        run = begin(job, "blazingtext")
        check_mode(run.values)
        if run.values.text("mode") == "supervised":
            _classifier(run)
        else:
            _word_vectors(run)


def _classifier(run: TrainingRun) -> None:
    train_text = _text(run, "train", labelled=True)
    validation_text = _text(run, "validation", labelled=True) if "validation" in run.channels else None
    values = run.values
    if values.flag("early_stopping"):
        if validation_text is None:
            raise ClientError("Hyperparameter early_stopping needs a validation channel")
        model = _stopped_early(run, train_text, validation_text)
    else:
        model = _supervised(run, train_text, values.integer("epochs"))
    for channel, path in (("train", train_text), ("validation", validation_text)):
        if path is not None:
            accuracy, examples = _accuracy(model, path)
            print(f"#{channel}_accuracy: {accuracy:.4f}", flush=True)
            print(f"Number of {channel} examples: {examples}", flush=True)
    model.save_model(str(run.job.model_dir / MODEL_NAME))


def _supervised(run: TrainingRun, text: Path, epochs: int) -> Any:
    arguments = supervised_arguments(run.values, run.job.threads, epochs)
    return _trained(run, lambda: fasttext.train_supervised(str(text), **arguments))


def _stopped_early(run: TrainingRun, train_text: Path, validation_text: Path) -> Any:
    """The model of the epoch count that the validation data likes best.

    fastText cannot be asked between two epochs, and lowers its learning rate towards the last one. So each number of epochs
    is a training of its own, from ``min_epochs`` on, until ``patience`` of them in a row were no better.
    """
    values = run.values
    best, best_accuracy, waited = None, -1.0, 0
    first = min(values.integer("min_epochs"), values.integer("epochs"))
    for epochs in range(first, values.integer("epochs") + 1):
        model = _supervised(run, train_text, epochs)
        accuracy, _ = _accuracy(model, validation_text)
        print(f"-------------- End of epoch: {epochs}", flush=True)
        print(f"Validation accuracy: {accuracy:.6f}", flush=True)
        if accuracy > best_accuracy:
            print("Validation accuracy improved! Storing best weights...", flush=True)
            best, best_accuracy, waited = model, accuracy, 0
        else:
            waited += 1
            print(f"Validation accuracy has not improved for last {waited} epochs.", flush=True)
        if waited >= values.integer("patience"):
            print("Reached early stopping condition. Stopping training...", flush=True)
            break
    return best


def _accuracy(model: Any, text: Path) -> tuple[float, int]:
    """How often the most likely label is one of the line's own, of the lines that can be judged."""
    examples, precision, _ = model.test(str(text))
    return (float(precision) if examples else 0.0), int(examples)


def _word_vectors(run: TrainingRun) -> None:
    if "validation" in run.channels:
        raise ClientError(f"Extraneous channel found: validation (mode is {run.values.text('mode')})")
    text = _text(run, "train", labelled=False)
    arguments = word_vector_arguments(run.values, run.job.threads)
    began = time.monotonic()
    model: Any = _trained(run, lambda: fasttext.train_unsupervised(str(text), **arguments))
    print(f"Total training time in seconds: {time.monotonic() - began:.2f}", flush=True)
    words = [word for word in model.get_words(on_unicode_error="replace") if word != _END_OF_SENTENCE]
    model.save_model(str(run.job.model_dir / VECTORS_NAME))
    with (run.job.model_dir / "vectors.txt").open("w", encoding="utf-8") as file:
        file.write(f"{len(words)} {model.get_dimension()}\n")
        for word in words:
            file.write(f"{word} {' '.join(f'{number:.7g}' for number in model.get_word_vector(word))}\n")
    if run.values.flag("evaluation"):
        _evaluate(run, model, frozenset(words))


def _evaluate(run: TrainingRun, model: Any, words: frozenset[str]) -> None:
    def vector(word: str) -> "NDArray[np.float32] | None":
        return model.get_word_vector(word) if word in words else None

    pairs = installed_pairs()
    if pairs is None:
        run.log.say(
            "No evaluation: the word pairs of WordSim-353 are not here. pip install gensim brings them",
            "WARNING",
        )
        return
    found = agreement(vector, pairs)
    result = {SET_NAME: found.as_json(), "mean_rho": found.rho}
    (run.job.model_dir / "eval.json").write_text(json.dumps(result))
    print(f"{SET_NAME}: {json.dumps(found.as_json())}", flush=True)
    if found.rho is None:
        run.log.say("Evaluation: the training data has too few words of WordSim-353", "WARNING")
    else:
        print(f"#mean_rho: {found.rho:.4f}", flush=True)


def _trained(run: TrainingRun, work: Callable[[], Any]) -> Any:
    """What ``work`` gives; JobFailed as soon as the job is stopped. The library works without looking up, so it gets a thread."""
    results: list[Any] = []
    failures: list[Exception] = []

    def watch() -> None:
        try:
            results.append(work())
        except Exception as error:  # noqa: BLE001 - raised again below
            failures.append(error)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(_POLL_S)
        run.check_stop()
    if failures:
        if isinstance(failures[0], ValueError | RuntimeError):  # as fastText says: empty vocabulary, NaN, …
            raise ClientError(f"fastText cannot train on this: {failures[0]}") from failures[0]
        raise failures[0]
    return results[0]


def _text(run: TrainingRun, name: str, *, labelled: bool) -> Path:
    """The channel's text as one file. ClientError when it is no UTF-8, or has no labels and needs some."""
    channel = run.channels[name]
    lines, with_label = 0, 0
    for path in channel.files:
        counted, found = _look_through(path)
        lines, with_label = lines + counted, with_label + found
    run.log.say(f"{name}: {lines} lines")
    if lines == 0:
        raise ClientError(f"No data in {name} channel: its files have no lines")
    if labelled and with_label == 0:
        raise ClientError(
            f"No line of the '{name}' channel has a label. In supervised mode lines have words that begin with "
            f"{_LABEL.decode()}, such as {_LABEL.decode()}1"
        )
    return channel.files[0] if len(channel.files) == 1 else _joined(run, channel)


def _look_through(path: Path) -> tuple[int, int]:
    """How many lines are not blank, and how many have a label."""
    lines, labelled = 0, 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                raise ClientError(f"Line {number} of file '{path.name}' is not UTF-8 text") from error
            lines += bool(line.strip())
            labelled += line.startswith(_LABEL) or b" " + _LABEL in line or b"\t" + _LABEL in line
    return lines, labelled


def _joined(run: TrainingRun, channel: Channel) -> Path:
    target = run.job.root / "input" / f"{channel.name}.txt"
    with target.open("wb") as file:
        for path in channel.files:
            with path.open("rb") as part:
                shutil.copyfileobj(part, file, 1024 * 1024)
            file.write(b"\n")
    return target
