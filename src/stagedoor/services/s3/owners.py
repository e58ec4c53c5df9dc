"""Who S3 says owns a thing: the account under its canonical user id."""

import hashlib


def canonical_user_id(account_id: str) -> str:
    """64 hexadecimal digits that stand for the account, always the same."""
    return hashlib.sha256(f"canonical user of {account_id}".encode()).hexdigest()


def owner(account_id: str) -> dict[str, str]:
    """The ``Owner`` of an answer."""
    return {"ID": canonical_user_id(account_id)}
