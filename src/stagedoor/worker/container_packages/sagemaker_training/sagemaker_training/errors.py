"""Errors that scripts raise or catch."""


class ClientError(Exception):
    """The user's mistake."""
