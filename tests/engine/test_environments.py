"""Environments made for requirements: kept by content, within a size, never one that somebody uses taken away."""

import asyncio
import sys
import zipfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from stagedoor.engine.environments import Environments, Wanted, checked
from stagedoor.engine.interface import RuntimeUnavailableError
from stagedoor.engine.runtimes import Runtime
from stagedoor.worker.specs import CONSTRAINTS_LINE

BASE = Runtime(Path(sys.executable), ())
PACKAGE_BYTES = 4_000_000
"""The packages' size: an environment has about a tenth of a megabyte besides."""


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels in place of an index: ``one``, ``two`` and ``three``."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in ("one", "two", "three"):
        info = f"probe_{name}-1.0.dist-info"
        files = {
            f"probe_{name}.bin": "\0" * PACKAGE_BYTES,
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: probe-{name}\nVersion: 1.0\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        files[f"{info}/RECORD"] = "".join(f"{each},,\n" for each in (*files, f"{info}/RECORD"))
        with zipfile.ZipFile(folder / f"probe_{name}-1.0-py3-none-any.whl", "w") as wheel:
            for each, content in files.items():
                wheel.writestr(each, content)
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    return folder


def play(story: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await story()

    asyncio.run(whole())


def test_the_least_recently_used_goes_first_and_never_one_that_is_used(tmp_path: Path, index: Path) -> None:
    environments = Environments(tmp_path / "made", int(2.5 * PACKAGE_BYTES))

    async def story() -> None:
        one = await environments.prepare("python", BASE, "probe-one\n")
        folder = environments.folder(one)
        assert folder is not None
        assert (await environments.prepare("python", BASE, "probe-one\n")) == one
        two = await environments.prepare("python", BASE, "probe-two==1.0\n")
        left_half = tmp_path / "made" / "0123"
        left_half.mkdir()
        assert environments.folder(two) is not None
        assert environments.folder(one) is not None  # used last, so two is what goes
        three = await environments.prepare("python", BASE, "probe-three\n")
        assert environments.folder(two) is None
        assert environments.folder(one) is not None
        assert not left_half.exists()
        environments.in_use = lambda: [folder]
        assert environments.folder(three) is not None
        again = await environments.prepare("python", BASE, "probe-two==1.0\n")
        assert again == two
        assert environments.folder(one) == folder
        assert environments.folder(three) is None

    play(story)


def test_one_that_was_just_asked_for_is_not_taken_away(tmp_path: Path, index: Path) -> None:
    environments = Environments(tmp_path / "made", 1)

    async def story() -> None:
        names = [await environments.prepare("python", BASE, f"probe-{each}\n") for each in ("one", "two")]
        assert all(environments.folder(name) is not None for name in names)

    play(story)


def test_constraints_choose_among_versions(tmp_path: Path, index: Path) -> None:
    environments = Environments(tmp_path / "made")

    async def story() -> None:
        with pytest.raises(RuntimeUnavailableError, match="probe-one"):
            await environments.prepare("python", BASE, f"probe-one\n{CONSTRAINTS_LINE}\nprobe-one<1\n")
        assert list((tmp_path / "made").iterdir()) == []

    play(story)


@pytest.mark.parametrize("line", ["-r x", "./x", "x @ https://packages.invalid", "--index-url x", "-c x"])
def test_a_worker_cannot_have_the_server_read_or_call_anything(line: str) -> None:
    with pytest.raises(RuntimeUnavailableError, match="is not supported"):
        checked(f"numpy\n{line}\n")


def test_what_is_asked_for_is_read_with_its_hashes() -> None:
    assert checked("--pre\nnumpy==1.0 --hash=sha256:00\n[constraints]\nscipy<2\n") == Wanted(
        ("numpy==1.0 --hash=sha256:00",), ("scipy<2",), ("--pre", "--require-hashes")
    )
