"""Who has which access key, and which policies apply to them: all of IAM that every request needs, in memory.

Place in the flow: ``front.authenticate`` asks ``by_access_key`` for each request; reconcilers and function pools ask
``role_credentials`` for what they run; ``services.sts`` uses the same to answer AssumeRole.

Records: ``iam.user``, ``iam.group``, ``iam.role``, ``iam.policy`` (customer managed) and ``iam.access_key``, all under region ``""``. They
are read once; afterwards a listener keeps up with every commit before its caller gets an answer, so a key that was made
inactive or a policy that was detached is out of force with the very next request. Root accounts are not records: ``app``
passes their key pairs.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, cast

from stagedoor.authz import managed
from stagedoor.authz.caller import Caller
from stagedoor.authz.policy import NOTHING
from stagedoor.authz.session_tokens import Credentials, SessionClaims, SessionTokens
from stagedoor.authz.sigv4 import Reason, SignatureError
from stagedoor.domain.arns import Arn
from stagedoor.store.records import Document, Key, Records

KINDS: Final = ("iam.user", "iam.group", "iam.role", "iam.policy", "iam.access_key")
# What stands in for the secret of a key that does not exist, so that both cases take the same time.
UNKNOWN_SECRET: Final = "stagedoor/no/such/access/key/000000000000"  # noqa: S105
USE_GRANULARITY_S: Final = 900.0
_MAX_CACHED: Final = 10_000
# What root may do in its account: the identity policy of a federated user whom root made.
_EVERYTHING: Final = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'
)


@dataclass(frozen=True, slots=True)
class RootAccount:
    """One account's root key pair."""

    account_id: str
    access_key_id: str
    secret_access_key: str = field(repr=False)
    display_name: str = ""


class Credential(NamedTuple):
    """What an access key stands for."""

    secret: str
    caller: Caller


class KeyUse(NamedTuple):
    """A use of a long-term key; ``at`` in epoch seconds."""

    at: float
    region: str
    service: str


class NamedPolicy(NamedTuple):
    """A policy document and where it is: ``inline policy own of role worker``."""

    name: str
    document: str


class NoSuchRoleError(LookupError):
    """A role does not exist (any more). The text names it."""


def read_accounts(text: str) -> tuple[RootAccount, ...]:
    """The accounts of an ``--accounts`` file. ValueError says what is wrong with it."""
    entries: object = json.loads(text)
    if not isinstance(entries, list):
        raise ValueError("the accounts file must hold a list of objects")
    return tuple(
        _read_account(entry, number) for number, entry in enumerate(cast("list[object]", entries), start=1)
    )


def _read_account(entry: object, number: int) -> RootAccount:
    given = cast("dict[str, object]", entry) if isinstance(entry, dict) else {}
    texts = {name: value for name, value in given.items() if isinstance(value, str) and value}
    missing = [name for name in ("account_id", "access_key_id", "secret_access_key") if name not in texts]
    if missing:
        raise ValueError(f"account {number} needs {', '.join(missing)}")
    if not (texts["account_id"].isdigit() and len(texts["account_id"]) == 12):
        raise ValueError(f"account {number}: account_id must have 12 digits, not {texts['account_id']!r}")
    return RootAccount(
        texts["account_id"],
        texts["access_key_id"],
        texts["secret_access_key"],
        texts.get("display_name", ""),
    )


class Principals:
    """Users, roles and their policies as the next request sees them. Thread-safe; nothing here blocks."""

    def __init__(
        self, records: Records, session_tokens: SessionTokens, root_accounts: Sequence[RootAccount] = ()
    ) -> None:
        self._records = records
        self._session_tokens = session_tokens
        self._roots = {
            account.access_key_id: Credential(account.secret_access_key, _root_caller(account))
            for account in root_accounts
        }
        self.root_accounts = tuple(root_accounts)
        self._documents: dict[Key, Document] = {}
        self._access_keys: dict[str, Key] = {}
        # Replaced as a whole by the listener: what a request worked out from older documents gets into an old cache.
        self._cache: dict[tuple[str, str | None], Credential] = {}
        self._stored_uses = {
            record.name: KeyUse(**record.document) for record in records.list("iam.access_key_use")
        }
        records.subscribe("iam.", self._changed)
        for kind in KINDS:
            for record in records.list(kind):
                self._set(record.key, record.document)

    # Asked by every request.

    def by_access_key(self, access_key_id: str, session_token: str | None, now: float) -> Credential:
        """The secret and the caller behind a key.

        SignatureError UNKNOWN_KEY (none such, inactive, or a temporary one without its token), TOKEN_INVALID,
        TOKEN_EXPIRED.
        """
        root = self._roots.get(access_key_id)
        if root is not None and session_token is None:
            return root
        cache = self._cache
        cache_key = (access_key_id, session_token)
        found = cache.get(cache_key)
        if found is not None:
            if found.caller.expires_at is not None and found.caller.expires_at <= now:
                raise SignatureError(
                    Reason.TOKEN_EXPIRED, "The security token included in the request is expired"
                )
            return found
        if session_token is not None:
            found = self._session(access_key_id, session_token, now)
        else:
            found = self._long_term(access_key_id)
        if len(cache) >= _MAX_CACHED:
            cache.clear()
        cache[cache_key] = found
        return found

    def _long_term(self, access_key_id: str) -> Credential:
        key = self._access_keys.get(access_key_id)
        document = self._documents.get(key) if key else None
        if key is None or document is None or document["Status"] != "Active":
            raise _unknown_key(access_key_id)
        user = self._documents.get(Key("iam.user", key.account_id, "", document["UserName"]))
        if user is None:
            raise _unknown_key(access_key_id)
        return Credential(document["secretAccessKey"], self._user_caller(key.account_id, user, access_key_id))

    def _session(self, access_key_id: str, session_token: str, now: float) -> Credential:
        claims = self._session_tokens.open(session_token, access_key_id, now)
        caller = self._session_caller(claims)
        if caller is None:
            raise SignatureError(
                Reason.TOKEN_INVALID, "The security token included in the request is invalid"
            )
        return Credential(self._session_tokens.secret_access_key(access_key_id), caller)

    def _session_caller(self, claims: SessionClaims) -> Caller | None:
        """The caller of a session; None when its role or user is gone."""
        arn = claims.source_arn if claims.kind == "federated-user" else claims.role_arn or claims.arn
        tags: dict[str, str] = {}
        if arn.endswith(":root"):
            if not self.has_account(claims.account_id):
                return None
            policies = (_EVERYTHING,) if claims.kind == "federated-user" else ()
            boundary = None
        else:
            kind, id_member = ("role", "RoleId") if claims.kind == "assumed-role" else ("user", "UserId")
            document = self._documents.get(Key(f"iam.{kind}", claims.account_id, "", arn.rpartition("/")[2]))
            if document is None or document[id_member] != claims.principal_id:
                return None
            policies = self.policies_of(claims.account_id, document)
            boundary = self.boundary_of(claims.account_id, document)
            # A federated user is another principal than the user behind it, with tags of its own.
            tags = {} if claims.kind == "federated-user" else _tags(document)
        return Caller(
            claims.kind,
            claims.account_id,
            claims.arn,
            claims.user_id,
            claims.access_key_id,
            claims.role_arn,
            policies,
            self._session_policies(claims),
            tuple((tags | dict(claims.tags)).items()),
            claims.expires_at,
            tuple((name, claims.tags[name]) for name in claims.transitive_tag_keys),
            boundary=boundary,
            issuer_arn=arn if claims.kind == "federated-user" else None,
            source_identity=claims.source_identity,
            mfa_at=claims.mfa_at,
            federated_provider=claims.federated_provider,
            issued_at=claims.issued_at,
        )

    def _session_policies(self, claims: SessionClaims) -> tuple[str, ...]:
        # A managed policy that was deleted meanwhile allows nothing.
        managed_texts = (
            self.managed_document(claims.account_id, arn) or NOTHING for arn in claims.session_policy_arns
        )
        found = (*claims.session_policies, *managed_texts)
        # Without a policy for the session, a federated user may do only what a resource's policy allows it by name.
        return found or ((NOTHING,) if claims.kind == "federated-user" else ())

    def _user_caller(self, account_id: str, user: Document, access_key_id: str) -> Caller:
        return Caller(
            "user",
            account_id,
            user["Arn"],
            user["UserId"],
            access_key_id,
            policies=self.policies_of(account_id, user),
            tags=tuple(_tags(user).items()),
            boundary=self.boundary_of(account_id, user),
        )

    # Roles, for whoever runs something in their name.

    def role(self, role_arn: str) -> Document:
        """The role's record. NoSuchRoleError when there is none with exactly this ARN."""
        try:
            arn = Arn.parse(role_arn)
        except ValueError:
            raise NoSuchRoleError(f"{role_arn} is not the ARN of a role") from None
        name = arn.resource.rpartition("/")[2]
        document = self._documents.get(Key("iam.role", arn.account_id, "", name))
        if document is None or document["Arn"] != role_arn:
            raise NoSuchRoleError(f"The role {role_arn} does not exist")
        return document

    def caller_for_role(self, role_arn: str, session_name: str) -> Caller:
        """The role's session as a caller, for decisions without a request. NoSuchRoleError."""
        role = self.role(role_arn)
        account_id = Arn.parse(role_arn).account_id
        return Caller(
            "assumed-role",
            account_id,
            session_arn(role_arn, session_name),
            f"{role['RoleId']}:{session_name}",
            role_arn=role_arn,
            policies=self.policies_of(account_id, role),
            tags=tuple(_tags(role).items()),
            boundary=self.boundary_of(account_id, role),
        )

    def role_credentials(self, role_arn: str, session_name: str, now: float, duration_s: int) -> Credentials:
        """Temporary credentials of a role, as a service gets them for what it runs. NoSuchRoleError.

        Whoever calls this answers for the role's trust in that service, which was checked when the role was named.
        """
        role_id: str = self.role(role_arn)["RoleId"]
        return self._session_tokens.issue(role_session(role_arn, role_id, session_name, now, duration_s))

    # Policies.

    def policies_of(self, account_id: str, entity: Document) -> tuple[str, ...]:
        """The documents that apply to a user's or role's record: its inline and attached ones, then those of its groups."""
        return tuple(policy.document for policy in self.named_policies_of(account_id, entity))

    def named_policies_of(self, account_id: str, entity: Document) -> list[NamedPolicy]:
        """As ``policies_of``, and what each is called."""
        found: list[NamedPolicy] = []
        groups = (
            self._documents.get(Key("iam.group", account_id, "", name)) for name in entity.get("groups", ())
        )
        for owner in (entity, *groups):
            if owner is None:
                continue
            whose = _noun(owner)
            for name, text in owner.get("inlinePolicies", {}).items():
                found.append(NamedPolicy(f"inline policy {name} of {whose}", text))
            for arn in owner.get("attachedPolicies", []):
                document = self.managed_document(account_id, arn)
                if document is not None:
                    found.append(NamedPolicy(f"policy {arn}, attached to {whose}", document))
        return found

    def named_policies(self, caller: Caller) -> list[NamedPolicy]:
        """The identity policies of a caller as they are now, with what each is called."""
        arn = caller.role_arn or caller.issuer_arn or caller.arn
        kind = "iam.role" if caller.role_arn else "iam.user"
        document = self._documents.get(Key(kind, caller.account_id, "", arn.rpartition("/")[2]))
        return [] if document is None else self.named_policies_of(caller.account_id, document)

    def boundary_of(self, account_id: str, entity: Document) -> str | None:
        """The document of an entity's permissions boundary; None without one. A policy that is gone allows nothing."""
        arn = entity.get("permissionsBoundary")
        return None if arn is None else self.managed_document(account_id, arn) or NOTHING

    def boundary_arn(self, account_id: str, kind: str, name: str) -> str | None:
        """The ARN of the permissions boundary of a ``role`` or ``user``; None without one."""
        document = self._documents.get(Key(f"iam.{kind}", account_id, "", name))
        return document.get("permissionsBoundary") if document else None

    def tags_of(self, account_id: str, kind: str, name: str) -> dict[str, str]:
        """The tags of a ``role``, ``user`` or ``policy``."""
        document = self._documents.get(Key(f"iam.{kind}", account_id, "", name))
        return _tags(document) if document else {}

    def managed_document(self, account_id: str, policy_arn: str) -> str | None:
        """The default version of a managed policy: AWS's, or the account's own. None when there is none."""
        if policy_arn.startswith(managed.ARN_PREFIX):
            return managed.document(policy_arn)
        policy = self._documents.get(Key("iam.policy", account_id, "", policy_arn.rpartition("/")[2]))
        if policy is None or policy["Arn"] != policy_arn:
            return None
        return next(
            version["Document"]
            for version in policy["versions"]
            if version["VersionId"] == policy["DefaultVersionId"]
        )

    def caller_for_user(self, account_id: str, user_name: str) -> Caller:
        """The user as a caller, for decisions without a request. KeyError when there is none."""
        return self._user_caller(account_id, self._documents[Key("iam.user", account_id, "", user_name)], "")

    def arn_of(self, account_id: str, kind: str, name: str) -> str | None:
        """The ARN of a ``role``, ``user`` or ``group`` by its name; None when there is none."""
        document = self._documents.get(Key(f"iam.{kind}", account_id, "", name))
        return document["Arn"] if document else None

    def account_of_access_key(self, access_key_id: str) -> str | None:
        """The account a long-term key belongs to; None when there is no such key."""
        root = self._roots.get(access_key_id)
        if root is not None:
            return root.caller.account_id
        key = self._access_keys.get(access_key_id)
        return key.account_id if key else None

    def has_account(self, account_id: str) -> bool:
        """Whether this server has an account of this id."""
        return any(root.caller.account_id == account_id for root in self._roots.values())

    # When long-term keys were used.

    def note_use(self, caller: Caller, now: float, region: str, service: str) -> bool:
        """Remember a use of the key of a ``user``; True when the stored one is so old that ``store_use`` is due."""
        before = self._stored_uses.get(caller.access_key_id)
        if (before is not None and now - before.at < USE_GRANULARITY_S) or caller.expires_at is not None:
            return False
        self._stored_uses[caller.access_key_id] = KeyUse(now, region, service)
        return True

    def store_use(self, caller: Caller) -> None:
        """Write down the last noted use of the caller's key. Blocks: call it in a thread."""
        use = self._stored_uses.get(caller.access_key_id)
        if use is not None:
            key = Key("iam.access_key_use", caller.account_id, "", caller.access_key_id)
            with self._records.transaction() as transaction:
                transaction.put(key, use._asdict())

    def last_use(self, access_key_id: str) -> "KeyUse | None":
        """The last known use of a key; None when there was none."""
        return self._stored_uses.get(access_key_id)

    # Keeping up with commits.

    def _changed(self, keys: frozenset[Key]) -> None:
        concerned = [key for key in keys if key.kind in KINDS]
        for key in concerned:
            record = self._records.get(key)
            self._set(key, record.document if record else None)
        if concerned:
            self._cache = {}

    def _set(self, key: Key, document: Document | None) -> None:
        if document is not None:
            self._documents[key] = document
            if key.kind == "iam.access_key":
                self._access_keys[key.name] = key
        else:
            self._documents.pop(key, None)
            if key.kind == "iam.access_key":
                self._access_keys.pop(key.name, None)


def role_session(
    role_arn: str, role_id: str, session_name: str, now: float, duration_s: int
) -> SessionClaims:
    """What a plain session of a role claims: no session policies, no tags."""
    return SessionClaims(
        kind="assumed-role",
        account_id=Arn.parse(role_arn).account_id,
        arn=session_arn(role_arn, session_name),
        user_id=f"{role_id}:{session_name}",
        principal_id=role_id,
        issued_at=int(now),
        expires_at=int(now) + duration_s,
        role_arn=role_arn,
        session_name=session_name,
    )


def session_arn(role_arn: str, session_name: str) -> str:
    """``arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION``: without the role's path, as AWS has it."""
    arn = Arn.parse(role_arn)
    name = arn.resource.rpartition("/")[2]
    return str(Arn("sts", "", arn.account_id, f"assumed-role/{name}/{session_name}", arn.partition))


def _root_caller(account: RootAccount) -> Caller:
    arn = f"arn:aws:iam::{account.account_id}:root"
    return Caller("root", account.account_id, arn, account.account_id, account.access_key_id)


def _unknown_key(access_key_id: str) -> SignatureError:
    return SignatureError(
        Reason.UNKNOWN_KEY,
        "The security token included in the request is invalid.",
        details={"AWSAccessKeyId": access_key_id},
    )


def _noun(entity: Document) -> str:
    kind = next(kind for kind in ("Role", "Group", "User") if f"{kind}Name" in entity)
    return f"{kind.lower()} {entity[f'{kind}Name']}"


def _tags(entity: dict[str, Any]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in entity.get("Tags", [])}
