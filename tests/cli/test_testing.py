"""The fixtures that users get with ``pytest``: what they start they clear away."""

from pathlib import Path

from stagedoor.testing import Server


def test_a_server_that_is_closed_leaves_nothing_outside_of_its_data_directory(tmp_path: Path) -> None:
    server = Server(tmp_path / "data").start()
    sockets = (server.data / "scratch" / ".sockets").readlink()
    assert sockets.is_dir()
    server.close()
    assert not sockets.exists()
    server.close()  # a second time is no error
