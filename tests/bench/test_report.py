"""The published page says what the raw numbers say, and nothing else."""

import json
from pathlib import Path

import pytest
from bench import figures, report
from bench.peers import catalogue

BENCH = Path(report.__file__).parent
PUBLISHED = BENCH / report.PUBLISHED


@pytest.fixture
def small_raw(tmp_path: Path) -> Path:
    """A run of two repeats with one peer that answers, once more with a reader given to it, and one that could not be had."""
    rates = {
        ("stagedoor", 0): 900.0,
        ("stagedoor", 1): 1100.0,
        ("fastapi-2", 0): 300.0,
        ("fastapi-2", 1): 250.0,
        ("fastapi-2-given", 0): 450.0,
        ("fastapi-2-given", 1): 500.0,
    }
    runs = [
        {
            "server": server,
            "repeat": repeat,
            "work": work,
            "connections": 8,
            "requests_per_s": rate,
            "p50_ms": 1.5,
            "p99_ms": 4.0,
            "accepted": 98,
            "cpu_us": 200.0,
            **({"refused": 2, "refusals_due": 2, "front_cpu_us": 80.0} if server == "stagedoor" else {}),
        }
        for (server, repeat), rate in rates.items()
        for work in ("review", "row")
        if (server, work) != ("fastapi-2-given", "row")
    ]
    alive = {"start_s": 1.0, "pss_bytes": 5e7, "processes": 2, "idle_cores": 0.0, "versions": {}}
    servers = [
        {"name": "stagedoor", "title": "stagedoor", "kind": "ours", **alive},
        {
            "name": "fastapi-2",
            "title": "FastAPI",
            "kind": "hand-written",
            **alive,
            "versions": {"fastapi": "1.0"},
        },
        {
            "name": "fastapi-2-given",
            "title": "FastAPI, given a reader",
            "kind": catalogue.GIVEN,
            "works": ["review"],
            **alive,
        },
        {
            "name": "java",
            "title": "A Java server",
            "kind": "framework",
            "reason": "it needs Java | which is missing",
        },
    ]
    section = {
        "date": "2026-01-01 00:00 UTC",
        "commit": "abc",
        "load_before": 0.1,
        "took_s": 60.0,
        "settings": {"repeats": 2, "seconds": 1.0, "connections": [8]},
        "works": {"review": "a review", "row": "a row"},
        "servers": servers,
        "runs": runs,
    }
    environment = {
        "processor": "a processor",
        "cores": 2,
        "memory_bytes": 1 << 33,
        "system": "Linux",
        "kernel": "6",
        "python": "3.11",
        "packages": {"boto3": "1"},
        "wrk": "wrk 4",
    }
    path = tmp_path / "raw.json"
    raw = {"format": report.FORMAT, "environment": environment, "sections": {"invoke": section}}
    path.write_text(json.dumps(raw))
    return path


def test_medians_and_ratios_within_each_repeat_are_told(small_raw: Path) -> None:
    page = report.markdown(report.read(small_raw))
    assert "| stagedoor | 1,000 |  |" in page
    assert "| FastAPI | 275 | 3.70x |" in page  # the middle of 900/300 and 1100/250


def test_a_peer_that_could_not_be_had_is_in_the_table_with_its_reason(small_raw: Path) -> None:
    page = report.markdown(report.read(small_raw))
    assert r"A Java server: not available, it needs Java \| which is missing" in page


def test_refusals_are_counted_and_promises_judged(small_raw: Path) -> None:
    page = report.markdown(report.read(small_raw))
    assert "Of stagedoor's 400 answered requests 8 were forged" in page
    assert (
        "| review, 8 connections: throughput, beside the best hand-written peer (FastAPI) | ≥ 3x | 3.70x | yes |"
        in page
    )


def test_a_peer_with_a_reader_given_to_it_is_told_apart_and_is_never_the_best(small_raw: Path) -> None:
    page = report.markdown(report.read(small_raw))
    review, row = page.split("### A row")
    assert "| FastAPI, given a reader | 475 | 2.10x |" in review
    assert "given a reader" not in row.split("### What each costs")[0]
    assert "| review, 8 connections: throughput, beside FastAPI, given a reader | - | 2.10x | - |" in page
    assert "beside the best hand-written peer (FastAPI) |" in page
    assert "8 connections: p99, beside the best peer (FastAPI) |" in page


def test_page_and_plots_are_written_and_earlier_plots_go(small_raw: Path, tmp_path: Path) -> None:
    old = tmp_path / "to" / "plots" / "old.svg"
    old.parent.mkdir(parents=True)
    old.write_text("old")
    written = report.write(small_raw, tmp_path / "to")
    assert not old.exists()
    assert {"RESULTS.md", "published.json", "throughput-review.svg", "memory.svg"} <= {
        path.name for path in written
    }
    for path in written:
        if path.suffix == ".svg":
            assert "given a reader" not in path.read_text()
            assert f"plots/{path.name}" in (tmp_path / "to" / "RESULTS.md").read_text()


def test_a_raw_file_of_another_format_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "raw.json"
    path.write_text('{"format": 0, "sections": {}}')
    with pytest.raises(ValueError, match="format 0"):
        report.read(path)


@pytest.mark.skipif(not PUBLISHED.exists(), reason="no run has been published")
def test_the_published_page_is_what_its_raw_numbers_give() -> None:
    raw = report.read(PUBLISHED)
    renew = f"write it anew with `python -m bench.report bench/{report.PUBLISHED}`"
    assert (BENCH / "RESULTS.md").read_text() == report.markdown(raw), renew
    plots = {path.name: path.read_text() for path in (BENCH / "plots").glob("*.svg")}
    assert plots == figures.all_of(raw["sections"]), renew
