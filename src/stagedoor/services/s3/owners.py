"""Who S3 says owns a thing: the account under its canonical user id."""

from stagedoor.authz.caller import canonical_user_id


def owner(account_id: str) -> dict[str, str]:
    """The ``Owner`` of an answer."""
    return {"ID": canonical_user_id(account_id)}
