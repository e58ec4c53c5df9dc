"""What the account has of everything, and how much it may have."""

from typing import Any, Final

from stagedoor.services.call import Call
from stagedoor.services.iam import documents, entities, mfa

_QUOTAS: Final = {
    "AccessKeysPerUserQuota": 2,
    "AssumeRolePolicySizeQuota": documents.TRUST_MAX,
    "AttachedPoliciesPerGroupQuota": entities.MAX_ATTACHED,
    "AttachedPoliciesPerRoleQuota": entities.MAX_ATTACHED,
    "AttachedPoliciesPerUserQuota": entities.MAX_ATTACHED,
    "GroupPolicySizeQuota": documents.INLINE_MAX["group"],
    "GroupsPerUserQuota": 10,
    "PolicySizeQuota": documents.MANAGED_MAX,
    "RolePolicySizeQuota": documents.INLINE_MAX["role"],
    "UserPolicySizeQuota": documents.INLINE_MAX["user"],
    "VersionsPerPolicyQuota": 5,
}

_COUNTED: Final = {
    "Users": "iam.user",
    "Groups": "iam.group",
    "Roles": "iam.role",
    "Policies": "iam.policy",
    "InstanceProfiles": "iam.instance_profile",
    "Providers": "iam.oidc_provider",
    "MFADevices": mfa.KIND,
}


def get_account_summary(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Counts of what there is, and the quotas that are enforced."""
    counts = {
        member: len(call.house.records.list(kind, call.account_id)) for member, kind in _COUNTED.items()
    }
    devices = call.house.records.list(mfa.KIND, call.account_id)
    counts["MFADevicesInUse"] = sum(bool(record.document.get("userName")) for record in devices)
    # Root has its key pair from the server's settings, and neither a password nor a second factor.
    counts |= {"AccountAccessKeysPresent": 1, "AccountMFAEnabled": 0, "AccountPasswordPresent": 0}
    return {"SummaryMap": {**counts, **_QUOTAS}}
