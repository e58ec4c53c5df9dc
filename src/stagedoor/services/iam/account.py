"""What the account has of everything, and how much it may have."""

from typing import Any, Final

from stagedoor.services.call import Call
from stagedoor.services.iam import documents, entities

_QUOTAS: Final = {
    "AccessKeysPerUserQuota": 2,
    "AssumeRolePolicySizeQuota": documents.TRUST_MAX,
    "AttachedPoliciesPerRoleQuota": entities.MAX_ATTACHED,
    "AttachedPoliciesPerUserQuota": entities.MAX_ATTACHED,
    "PolicySizeQuota": documents.MANAGED_MAX,
    "RolePolicySizeQuota": documents.INLINE_MAX["role"],
    "UserPolicySizeQuota": documents.INLINE_MAX["user"],
    "VersionsPerPolicyQuota": 5,
}


def get_account_summary(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Counts of what there is, and the quotas that are enforced."""
    counts = {
        member: len(call.house.records.list(kind, call.account_id))
        for member, kind in (("Users", "iam.user"), ("Roles", "iam.role"), ("Policies", "iam.policy"))
    }
    return {"SummaryMap": {**counts, **_QUOTAS}}
