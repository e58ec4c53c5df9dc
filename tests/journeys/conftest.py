"""The browser, the AWS CLI and the server with runtimes for scripts, for the tests of this folder."""

from browser import chromium_browser, page
from journeys.aws_cli import aws, either_aws
from services.frameworks import framework_server, torch_server

__all__ = ["aws", "chromium_browser", "either_aws", "framework_server", "page", "torch_server"]
