"""The browser for the tests of this folder."""

from browser import chromium_browser, page

__all__ = ["chromium_browser", "page"]
