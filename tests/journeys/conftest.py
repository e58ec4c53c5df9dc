"""The browser and the server with runtimes for scripts, for the tests of this folder."""

from browser import chromium_browser, page
from services.frameworks import framework_server, torch_server

__all__ = ["chromium_browser", "framework_server", "page", "torch_server"]
