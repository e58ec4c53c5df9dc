"""``logging`` in functions, set up as AWS's Python runtime does: tab-separated level, time, request id, message.

Place in the flow: ``function_worker`` sets it up before the user's module is imported and names each request to it.
"""

import logging
import sys
import time

from stagedoor.worker.specs import one_event


class LogHandler(logging.Handler):
    """Writes records to standard output, whichever object that is now."""

    def __init__(self) -> None:
        super().__init__()
        self.request_id = ""
        formatter = logging.Formatter(
            "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s",
            "%Y-%m-%dT%H:%M:%S",
        )
        formatter.converter = time.gmtime
        self.setFormatter(formatter)

    def filter(self, record: logging.LogRecord) -> bool:
        record.aws_request_id = self.request_id
        return bool(super().filter(record))

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stdout.write(one_event(self.format(record)))
        except Exception:  # noqa: BLE001 - logging reports, and never fails its caller
            self.handleError(record)


def set_up() -> LogHandler:
    """Install the handler on the root logger; its level stays WARNING until the user changes it."""
    handler = LogHandler()
    root = logging.getLogger()
    for earlier in list(root.handlers):
        root.removeHandler(earlier)
    root.addHandler(handler)
    return handler
