from browser import chromium_browser, page  # noqa: F401 - fixtures for the tests of this folder
