"""Channels in Pipe mode: what flows through the first epoch's named pipe, as a file like those of File mode.

Place in the flow: ``channels`` asks for a channel's files; where there is a pipe beside the channel's folder, it is read to its end
first. The algorithms here go through their data more than once, or need all of it.
"""

import shutil
from pathlib import Path

_BLOCK_BYTES = 1024 * 1024


def spool(folder: Path) -> None:
    """Read ``CHANNEL_0`` beside the folder ``CHANNEL``, if there is one, into a file in that folder."""
    pipe = folder.with_name(f"{folder.name}_0")
    if not pipe.is_fifo():
        return
    folder.mkdir(parents=True, exist_ok=True)
    with pipe.open("rb") as source, (folder / "pipe").open("wb") as target:
        shutil.copyfileobj(source, target, _BLOCK_BYTES)
