"""Usage plans: which API keys may call which stages, and how often. A quota is refused by name: nothing counts days here."""

from typing import Any

from stagedoor.domain import ids
from stagedoor.services.apigateway import api_keys, method_settings, patches, stored
from stagedoor.services.call import Call
from stagedoor.store.records import Document, Transaction

_RULES = patches.Rules({"name": patches.text, "description": patches.text})
_INTERNAL = "keyIds"


def create_usage_plan(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """A plan for the given stages, which must exist."""
    stored.refuse(request, "quota")
    if not request["name"].strip():
        raise stored.bad_request("Usage Plan name cannot be empty")
    plan: Document = {"id": ids.resource_suffix(), "name": request["name"], "apiStages": [], _INTERNAL: []}
    for member in ("description", "tags"):
        if request.get(member):
            plan[member] = request[member]
    if request.get("throttle"):
        plan["throttle"] = _throttle(request["throttle"])
    with call.house.records.transaction() as transaction:
        stages: list[dict[str, Any]] = request.get("apiStages") or []
        for each in stages:
            stored.refuse(each, "throttle")
            _add_stage(transaction, call, plan, each["apiId"], each["stage"])
        transaction.insert(stored.key_of(call, stored.USAGE_PLAN, plan["id"]), plan)
    return _shown(plan)


def get_usage_plan(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """One plan."""
    return _shown(stored.usage_plan(call.house.records, call, request["usagePlanId"]))


def get_usage_plans(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """All plans; with ``keyId`` those that have the key."""
    wanted = request.get("keyId")
    records = call.house.records.list(stored.USAGE_PLAN, call.account_id, call.region)
    plans = [record.document for record in records if wanted is None or wanted in record.document[_INTERNAL]]
    return stored.page([_shown(plan) for plan in plans], request)


def update_usage_plan(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Patch a plan: its name, its throttle (``/throttle/rateLimit``), its stages (``/apiStages``: ``API:STAGE``)."""
    with call.house.records.transaction() as transaction:
        plan = stored.usage_plan(transaction, call, request["usagePlanId"])
        operations: list[dict[str, Any]] = request.get("patchOperations") or []
        for operation in operations:
            plan = _patched(transaction, call, plan, operation)
        transaction.put(stored.key_of(call, stored.USAGE_PLAN, plan["id"]), plan)
    return _shown(plan)


def delete_usage_plan(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Delete a plan; its keys stay."""
    with call.house.records.transaction() as transaction:
        plan = stored.usage_plan(transaction, call, request["usagePlanId"])
        transaction.delete(stored.key_of(call, stored.USAGE_PLAN, plan["id"]))
    return {}


def create_usage_plan_key(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Let a key use a plan: for the next request."""
    if request["keyType"] != "API_KEY":
        raise stored.bad_request(f"Invalid keyType {request['keyType']} specified: it is API_KEY")
    with call.house.records.transaction() as transaction:
        plan = stored.usage_plan(transaction, call, request["usagePlanId"])
        key = stored.api_key(transaction, call, request["keyId"])
        if key["id"] in plan[_INTERNAL]:
            raise stored.conflict(f"Usage plan {plan['id']} already has the API Key {key['id']}")
        _refuse_second_plan(transaction, call, key["id"], plan)
        plan[_INTERNAL].append(key["id"])
        transaction.put(stored.key_of(call, stored.USAGE_PLAN, plan["id"]), plan)
    return _plan_key(key)


def get_usage_plan_key(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """One key of a plan."""
    plan = stored.usage_plan(call.house.records, call, request["usagePlanId"])
    if request["keyId"] not in plan[_INTERNAL]:
        raise stored.not_found("API Key identifier")
    return _plan_key(stored.api_key(call.house.records, call, request["keyId"]))


def get_usage_plan_keys(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """The keys of a plan; ``nameQuery`` is how their names begin."""
    plan = stored.usage_plan(call.house.records, call, request["usagePlanId"])
    keys = [stored.api_key(call.house.records, call, key_id) for key_id in plan[_INTERNAL]]
    prefix = request.get("nameQuery") or ""
    return stored.page([_plan_key(key) for key in keys if key["name"].startswith(prefix)], request)


def delete_usage_plan_key(call: Call, request: dict[str, Any]) -> dict[str, Any]:
    """Take a key out of a plan: for the next request."""
    with call.house.records.transaction() as transaction:
        plan = stored.usage_plan(transaction, call, request["usagePlanId"])
        if request["keyId"] not in plan[_INTERNAL]:
            raise stored.not_found("API Key identifier")
        plan[_INTERNAL].remove(request["keyId"])
        transaction.put(stored.key_of(call, stored.USAGE_PLAN, plan["id"]), plan)
    return {}


def _shown(plan: Document) -> Document:
    return {name: value for name, value in plan.items() if name != _INTERNAL}


def _plan_key(key: Document) -> Document:
    return {"id": key["id"], "type": "API_KEY", "name": key["name"], "value": key["value"]}


def _throttle(given: dict[str, Any]) -> Document:
    try:
        return {
            "rateLimit": float(method_settings.limit(str(given.get("rateLimit", -1)), float)),
            "burstLimit": int(method_settings.limit(str(given.get("burstLimit", -1)), int)),
        }
    except ValueError as error:
        raise stored.bad_request(f"Invalid throttle setting: {error} is no number from -1 up") from error


def _add_stage(transaction: Transaction, call: Call, plan: Document, api_id: str, stage: str) -> None:
    stored.stage(transaction, call, api_id, stage)
    entry = {"apiId": api_id, "stage": stage}
    if entry in plan["apiStages"]:
        raise stored.conflict(f"Usage plan {plan['id']} already has the stage {api_id}:{stage}")
    plan["apiStages"].append(entry)
    for key_id in plan[_INTERNAL]:
        _refuse_second_plan(transaction, call, key_id, plan)


def _refuse_second_plan(transaction: Transaction, call: Call, key_id: str, plan: Document) -> None:
    """One key has one plan for a stage, so that it is clear which throttle counts."""
    for other in api_keys.plans_with(transaction, call, key_id):
        both = [each for each in other["apiStages"] if each in plan["apiStages"]]
        if other["id"] != plan["id"] and both:
            names = ", ".join(f"{each['apiId']}:{each['stage']}" for each in both)
            raise stored.conflict(
                f"API Key {key_id} is in the usage plan {other['id']} for the same stages: {names}"
            )


def _patched(transaction: Transaction, call: Call, plan: Document, operation: dict[str, Any]) -> Document:
    what, path, value = operation.get("op"), str(operation.get("path") or ""), operation.get("value")
    if path == "/apiStages" and what in ("add", "remove"):
        api_id, _, stage = str(value or "").partition(":")
        if what == "add":
            _add_stage(transaction, call, plan, api_id, stage)
        elif {"apiId": api_id, "stage": stage} in plan["apiStages"]:
            plan["apiStages"].remove({"apiId": api_id, "stage": stage})
        else:
            raise stored.not_found("API Stage")
    elif path == "/throttle" and what == "remove":
        plan.pop("throttle", None)
    elif path in ("/throttle/rateLimit", "/throttle/burstLimit") and what in ("add", "replace"):
        plan["throttle"] = _throttle(plan.get("throttle", {}) | {path.rpartition("/")[2]: value})
    elif path.startswith(("/quota", "/apiStages/", "/productCode")):
        raise stored.unsupported(f"{path.split('/')[1]} of a usage plan")
    else:
        return _RULES.apply(plan, [operation])
    return plan
