"""The file that refusals are explained in."""

from pathlib import Path
from typing import Any, cast

import orjson
import pytest

from stagedoor.domain.clock import SystemClock
from stagedoor.services import denials
from stagedoor.services.denials import Denials


@pytest.fixture
def log(tmp_path: Path) -> Denials:
    return Denials(tmp_path / "logs", cast(Any, None), SystemClock())


def entry(request_id: str) -> dict[str, str]:
    return {"request_id": request_id, "principal": "somebody"}


def test_an_explanation_is_there_at_once_and_after_the_file_was_taken_away(
    log: Denials, tmp_path: Path
) -> None:
    directory = tmp_path / "logs"
    for number in range(3):
        log.append(entry(f"first-{number}"))
        assert list(denials.find(directory, f"first-{number}")) == [entry(f"first-{number}")]
    (directory / denials.FILE_NAME).unlink()
    log.append(entry("second"))
    assert list(denials.find(directory, "second")) == [entry("second")]
    assert list(denials.find(directory, "first-0")) == []
    log.close()
    log.append(entry("third"))
    assert list(denials.find(directory, "second")) == [entry("second")]
    assert list(denials.find(directory, "third")) == [entry("third")]
    log.close()


def test_a_full_file_makes_way_and_is_still_looked_through(
    log: Denials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "logs"
    line_bytes = len(orjson.dumps(entry("00"))) + 1
    monkeypatch.setattr(denials, "_FILE_MAX_BYTES", 10 * line_bytes)
    for number in range(15):
        log.append(entry(f"{number:02}"))
    current = directory / denials.FILE_NAME
    assert current.stat().st_size == 4 * line_bytes
    assert denials.previous(current).stat().st_size == 11 * line_bytes
    for number in range(15):
        assert list(denials.find(directory, f"{number:02}")) == [entry(f"{number:02}")]
    log.close()


def test_a_log_that_cannot_be_written_is_no_reason_to_fail(log: Denials, tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    log.append(entry("lost"))
    (tmp_path / "logs").unlink()
    log.append(entry("kept"))
    assert list(denials.find(tmp_path / "logs", "kept")) == [entry("kept")]
    log.close()
