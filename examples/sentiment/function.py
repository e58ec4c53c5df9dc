"""The Lambda function: three files in an archive made in memory, and a role that may ask the endpoint."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from pathlib import Path

from place import Place
from plan import Plan
from roles import once_assumable

RUNTIME = "python3.13"
HANDLER = "handler.handle"
TIMEOUT_S = 25
MEMORY_MB = 512

_HERE = Path(__file__).parent


def archive(vocabulary_json: bytes) -> bytes:
    """The function's code; the same content always gives the same bytes."""
    files = {
        "handler.py": (_HERE / "handler.py").read_bytes(),
        "words.py": (_HERE / "words.py").read_bytes(),
        "vocabulary.json": vocabulary_json,
    }
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16  # readable for the user that Lambda runs it as
            zipped.writestr(entry, data)
    return made.getvalue()


def ensure(place: Place, plan: Plan, role: str, code: bytes) -> tuple[str, bool]:
    """The function with this code: its ARN, and whether anything had to be made or changed."""
    functions = place.functions
    variables = {"ENDPOINT_NAME": plan.endpoint}
    try:
        current = functions.get_function_configuration(FunctionName=plan.function)
    except functions.exceptions.ResourceNotFoundException:
        made = once_assumable(
            lambda: functions.create_function(
                FunctionName=plan.function,
                Runtime=RUNTIME,
                Role=role,
                Handler=HANDLER,
                Code={"ZipFile": code},
                Description="Judges a film review and says which words led to it",
                Timeout=TIMEOUT_S,
                MemorySize=MEMORY_MB,
                Environment={"Variables": variables},
            )
        )
        functions.get_waiter("function_active_v2").wait(FunctionName=plan.function)
        return made["FunctionArn"], True
    changed = False
    if current["CodeSha256"] != base64.b64encode(hashlib.sha256(code).digest()).decode():
        functions.update_function_code(FunctionName=plan.function, ZipFile=code)
        functions.get_waiter("function_updated_v2").wait(FunctionName=plan.function)
        changed = True
    wanted = (role, RUNTIME, HANDLER, TIMEOUT_S, MEMORY_MB, variables)
    has = (
        current["Role"],
        current.get("Runtime"),
        current["Handler"],
        current["Timeout"],
        current["MemorySize"],
        current.get("Environment", {}).get("Variables"),
    )
    if has != wanted:
        once_assumable(
            lambda: functions.update_function_configuration(
                FunctionName=plan.function,
                Role=role,
                Runtime=RUNTIME,
                Handler=HANDLER,
                Timeout=TIMEOUT_S,
                MemorySize=MEMORY_MB,
                Environment={"Variables": variables},
            )
        )
        functions.get_waiter("function_updated_v2").wait(FunctionName=plan.function)
        changed = True
    return current["FunctionArn"], changed
