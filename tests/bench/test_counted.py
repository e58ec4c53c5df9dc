"""What one invocation executes may not grow unnoticed: counted, not timed, so that a busy machine changes nothing."""

import pytest
from bench import counted

ROOM = 1.10
RENEW = "make it leaner, or, where the growth is worth it, renew bench/counted.json with `python -m bench.counted --write` and say why"

pytest.importorskip("xgboost")


@pytest.fixture(scope="module")
def found() -> counted.Counts:
    return counted.measure()


def test_an_invocation_calls_no_more_than_it_did(found: counted.Counts) -> None:
    kept, _ = counted.committed()
    assert found.keys() == kept.keys(), "other steps are counted: renew bench/counted.json"
    for title, counts in kept.items():
        most = counts["calls"] * ROOM
        assert found[title]["calls"] <= most, (
            f"{title}: {found[title]['calls']} calls, {most:.0f} at most: {RENEW}"
        )


def test_an_invocation_executes_no_more_instructions_than_it_did(found: counted.Counts) -> None:
    kept, python = counted.committed()
    if counted.version() != python:
        pytest.skip(f"instructions were counted with Python {python}")
    for title, counts in kept.items():
        most, seen = counts["instructions"] * ROOM, found[title]["instructions"]
        assert seen <= most, f"{title}: {seen} instructions, {most:.0f} at most: {RENEW}"


def test_counting_twice_gives_the_same(found: counted.Counts) -> None:
    again = counted.measure()
    for title, counts in found.items():
        assert again[title]["calls"] == pytest.approx(counts["calls"], rel=0.02), title
        assert again[title]["instructions"] == pytest.approx(counts["instructions"], rel=0.02), title
