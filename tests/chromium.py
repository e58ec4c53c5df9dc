"""Where the browser of the browser tests is: the machine's own Chromium or Chrome, driven by Playwright.

Run as a program it says how to get one. With ``--required`` (as in CI) a missing browser is a failure; on a
person's machine the browser tests are skipped instead, with the same words.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

HOW_TO_GET = (
    "The browser tests need Chromium or Chrome, and found none. Debian, Ubuntu: apt-get install chromium; "
    "Fedora: dnf install chromium; macOS: brew install --cask chromium. "
    "Or name one: STAGEDOOR_CHROMIUM=/path/to/chromium make test"
)

# What a headless browser in a sandboxed, networkless machine needs; none of it changes how a page is shown.
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_APPLICATIONS = (
    Path("/Applications/Chromium.app/Contents/MacOS/Chromium"),
    Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"),
)


def find() -> str | None:
    """The browser's path; None when this machine has none."""
    named = os.environ.get("STAGEDOOR_CHROMIUM")
    if named:
        return named
    on_path = next((path for name in _NAMES if (path := shutil.which(name))), None)
    return on_path or next((str(path) for path in _APPLICATIONS if path.exists()), None)


def main(arguments: list[str]) -> int:
    if find():
        return 0
    print(HOW_TO_GET, file=sys.stderr)
    return 1 if "--required" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
