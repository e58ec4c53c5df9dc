"""What users bring is extracted, or refused with nothing outside the folder."""

import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from stagedoor.worker import archives
from stagedoor.worker.archives import ArchiveError, extract_tar, extract_zip

LIMIT = 1 << 20


def tar(path: Path, *entries: tarfile.TarInfo | tuple[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as target:  # type: ignore[call-overload]
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                target.addfile(entry, io.BytesIO(b"\0" * entry.size))
            else:
                info = tarfile.TarInfo(entry[0])
                info.size = len(entry[1])
                target.addfile(info, io.BytesIO(entry[1]))
    return path


def special(name: str, kind: bytes, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    return info


def everything_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "outside").write_text("safe")
    (tmp_path / "target").mkdir()
    return tmp_path / "target"


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_model_archive_is_extracted(tmp_path: Path, folder: Path, mode: str) -> None:
    archive = tar(
        tmp_path / "m",
        special(".", tarfile.DIRTYPE, mode=0o755),
        ("./xgboost-model", b"weights"),
        ("code/inference.py", b"x"),
        special("code/empty", tarfile.DIRTYPE),
        mode=mode,
    )
    extract_tar(archive, folder, max_bytes=LIMIT)
    assert everything_in(folder) == ["code", "code/empty", "code/inference.py", "xgboost-model"]
    assert (folder / "xgboost-model").read_bytes() == b"weights"


def test_the_folder_itself_may_be_an_entry_as_the_sdks_pack_it(tmp_path: Path, folder: Path) -> None:
    model = tmp_path / "model"
    (model / "code").mkdir(parents=True)
    (model / "code" / "inference.py").write_bytes(b"x")
    with tarfile.open(tmp_path / "m", "w:gz") as target:
        target.add(model, arcname=os.path.sep)
        assert target.getnames()[0] == ""
    extract_tar(tmp_path / "m", folder, max_bytes=LIMIT)
    assert everything_in(folder) == ["code", "code/inference.py"]


def test_modes_keep_only_what_may_be_executed(tmp_path: Path, folder: Path) -> None:
    extract_tar(
        tar(
            tmp_path / "m",
            special("a", tarfile.REGTYPE, mode=0o1755),
            special("d", tarfile.DIRTYPE, mode=0o2775),
            ("b", b""),
        ),
        folder,
        max_bytes=LIMIT,
    )
    assert (folder / "a").stat().st_mode & 0o7777 == 0o700
    assert (folder / "b").stat().st_mode & 0o7777 == 0o600
    assert (folder / "d").stat().st_mode & 0o7777 == 0o700


def test_an_entry_for_the_folder_itself_has_no_name(tmp_path: Path, folder: Path) -> None:
    extract_tar(
        tar(tmp_path / "m", special("", tarfile.DIRTYPE), special("/", tarfile.DIRTYPE), ("a", b"b")),
        folder,
        max_bytes=LIMIT,
    )
    assert everything_in(folder) == ["a"]


def test_links_inside_become_copies(tmp_path: Path, folder: Path) -> None:
    archive = tar(
        tmp_path / "m",
        special("current", tarfile.SYMTYPE, "versions/2/model"),
        ("versions/2/model", b"weights"),
        special("versions/up", tarfile.SYMTYPE, "../versions/2/model"),
        special("hard", tarfile.LNKTYPE, "versions/2/model"),
    )
    extract_tar(archive, folder, max_bytes=LIMIT)
    for name in ("current", "versions/up", "hard"):
        assert (folder / name).read_bytes() == b"weights"
        assert not (folder / name).is_symlink()
        assert (folder / name).stat().st_nlink == 1


DANGEROUS: list[tuple[str, list[tarfile.TarInfo | tuple[str, bytes]]]] = [
    ("outside", [("../outside", b"bad")]),
    ("outside", [("a/../../outside", b"bad")]),
    ("outside", [("/tmp/stagedoor-test-outside", b"bad")]),
    ("setuid", [special("program", tarfile.REGTYPE, mode=0o4755)]),
    ("setuid", [special("program", tarfile.REGTYPE, mode=0o2755)]),
    ("setuid", [special("folder", tarfile.DIRTYPE, mode=0o4755)]),
    ("neither a file nor a folder", [special("device", tarfile.CHRTYPE)]),
    ("neither a file nor a folder", [special("pipe", tarfile.FIFOTYPE)]),
    ("no file in it|outside", [special("link", tarfile.SYMTYPE, "../outside")]),
    ("absolute path", [special("link", tarfile.SYMTYPE, "/etc/passwd")]),
    ("outside", [special("link", tarfile.LNKTYPE, "../outside")]),
    ("no file in it", [special("dir", tarfile.SYMTYPE, "."), ("dir2", b"")]),
    ("no file in it", [special("loop", tarfile.SYMTYPE, "loop")]),
    ("outside", [special("link", tarfile.SYMTYPE, ".."), ("link/../../outside", b"bad")]),
    ("unusable name", [("a\nb", b"")]),
    ("unusable name", [("a\\..\\b", b"")]),
    ("unusable name", [("x" * 5000, b"")]),
    ("both as a file and as a folder", [("a", b""), ("a/b", b"")]),
    ("larger than", [("zeros", b"\0" * (LIMIT + 1))]),
    ("larger than", [("half", b"\0" * (LIMIT // 2 + 1)), special("link", tarfile.SYMTYPE, "half")]),
]


@pytest.mark.parametrize(("reason", "entries"), DANGEROUS)
def test_a_dangerous_tar_is_refused(
    tmp_path: Path, folder: Path, reason: str, entries: list[tarfile.TarInfo | tuple[str, bytes]]
) -> None:
    with pytest.raises(ArchiveError, match=reason):
        extract_tar(tar(tmp_path / "m", *entries), folder, max_bytes=LIMIT)
    assert (tmp_path / "outside").read_text() == "safe"
    assert everything_in(tmp_path) == sorted(
        {"m", "outside", "target", *("target/" + n for n in everything_in(folder))}
    )
    assert not any(path.is_symlink() for path in folder.rglob("*"))
    assert sum(path.stat().st_size for path in folder.rglob("*")) <= 2 * LIMIT


def test_a_link_that_comes_before_a_file_through_it_leads_nowhere(tmp_path: Path, folder: Path) -> None:
    archive = tar(tmp_path / "m", special("dir", tarfile.SYMTYPE, ".."), ("dir/outside", b"bad"))
    with pytest.raises(ArchiveError):
        extract_tar(archive, folder, max_bytes=LIMIT)
    assert (tmp_path / "outside").read_text() == "safe"


def test_too_many_entries_are_refused(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_ENTRIES", 10)
    with pytest.raises(ArchiveError, match="more than 10 entries"):
        extract_tar(tar(tmp_path / "m", *((f"f{n}", b"") for n in range(11))), folder, max_bytes=LIMIT)
    with zipfile.ZipFile(tmp_path / "z", "w") as target:
        for number in range(11):
            target.writestr(f"f{number}", b"")
    with pytest.raises(ArchiveError, match="more than 10 entries"):
        extract_zip(tmp_path / "z", folder, max_bytes=LIMIT)


def _truncated(path: Path) -> None:
    tar(path, ("a", os.urandom(100_000)))
    path.write_bytes(path.read_bytes()[:50_000])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _text(path: Path) -> None:
    path.write_text("not an archive at all" * 100)


def _flipped(path: Path) -> None:
    tar(path, ("a", os.urandom(100_000)))
    data = bytearray(path.read_bytes())
    data[40_000] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [_truncated, _empty, _text, _flipped])
def test_a_damaged_archive_is_refused(tmp_path: Path, folder: Path, damage: Callable[[Path], None]) -> None:
    damage(tmp_path / "m")
    with pytest.raises(ArchiveError, match="damaged or not a"):
        extract_tar(tmp_path / "m", folder, max_bytes=LIMIT)
    with pytest.raises(ArchiveError, match="damaged or not a"):
        extract_zip(tmp_path / "m", folder, max_bytes=LIMIT)


def test_a_package_is_extracted(tmp_path: Path, folder: Path) -> None:
    with zipfile.ZipFile(tmp_path / "z", "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("handler.py", "x = 1")
        target.writestr("pkg/", "")
        target.writestr("pkg/mod.py", "y = 2")
        program = zipfile.ZipInfo("bin/run")
        program.external_attr = 0o100755 << 16
        target.writestr(program, "#!/bin/sh")
    extract_zip(tmp_path / "z", folder, max_bytes=LIMIT)
    assert everything_in(folder) == ["bin", "bin/run", "handler.py", "pkg", "pkg/mod.py"]
    assert os.access(folder / "bin/run", os.X_OK)


@pytest.mark.parametrize(
    ("reason", "name", "mode"),
    [
        ("outside", "../outside", 0),
        ("outside", "/etc/outside", 0),
        ("neither a file nor a folder", "link", 0o120777),
        ("neither a file nor a folder", "pipe", 0o010644),
    ],
)
def test_a_dangerous_package_is_refused(
    tmp_path: Path, folder: Path, reason: str, name: str, mode: int
) -> None:
    with zipfile.ZipFile(tmp_path / "z", "w") as target:
        entry = zipfile.ZipInfo(name)
        entry.external_attr = mode << 16
        target.writestr(entry, "/etc/passwd")
    with pytest.raises(ArchiveError, match=reason):
        extract_zip(tmp_path / "z", folder, max_bytes=LIMIT)
    assert (tmp_path / "outside").read_text() == "safe"
    assert everything_in(folder) == []


def test_a_bomb_a_double_name_and_encryption_are_refused(tmp_path: Path, folder: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb", "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("zeros", b"\0" * (4 * LIMIT))
    with pytest.raises(ArchiveError, match="larger than"):
        extract_zip(tmp_path / "bomb", folder, max_bytes=LIMIT)
    assert sum(path.stat().st_size for path in folder.rglob("*")) <= LIMIT

    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(tmp_path / "double", "w") as target:
        target.writestr("a", b"1")
        target.writestr("a", b"2")
    with pytest.raises(ArchiveError, match="twice"):
        extract_zip(tmp_path / "double", folder, max_bytes=LIMIT)

    with zipfile.ZipFile(tmp_path / "locked", "w") as target:
        target.writestr("a", b"1")
    data = bytearray((tmp_path / "locked").read_bytes())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "locked").write_bytes(data)
    with pytest.raises(ArchiveError, match="encrypted"):
        extract_zip(tmp_path / "locked", folder, max_bytes=LIMIT)
