"""Second factors as records, and the check of a code: for the operations on devices and for STS."""

from typing import Any

from stagedoor.authz import one_time_codes
from stagedoor.domain.errors import AwsError
from stagedoor.services.call import Call
from stagedoor.services.iam import entities
from stagedoor.store.records import Reader, Record, Transaction

KIND = "iam.mfa_device"


def name_of(call: Call, serial_number: str) -> str:
    """The device's name in the store. NoSuchEntity for serial numbers of another account or form."""
    prefix = f"arn:aws:iam::{call.account_id}:mfa"
    if not serial_number.startswith(f"{prefix}/"):
        raise _missing(serial_number)
    return serial_number.rpartition("/")[2]


def _missing(serial_number: str) -> AwsError:
    return entities.no_such_entity(f"VirtualMFADevice with serial number {serial_number} does not exist.")


def find(reader: Reader, call: Call, serial_number: str) -> Record:
    """The device's record. NoSuchEntity."""
    record = reader.get(entities.key(call, "mfa_device", name_of(call, serial_number)))
    if record is None or record.document["SerialNumber"] != serial_number:
        raise _missing(serial_number)
    return record


def of_user(reader: Reader, call: Call, user_name: str) -> list[Record]:
    """The devices that are enabled for a user."""
    return [
        record
        for record in reader.list(KIND, call.account_id)
        if record.document.get("userName") == user_name
    ]


def accept(transaction: Transaction, call: Call, record: Record, *codes: str) -> dict[str, Any] | None:
    """The device's document after it showed ``codes``, each later than the one before; None when one is wrong.

    The step of the last one is remembered: no code is good twice.
    """
    last: int = record.document.get("lastStep", -1)
    for code in codes:
        step = one_time_codes.step_of(record.document["seed"], code, call.now, last)
        if step is None:
            return None
        last = step
    document = {**record.document, "lastStep": last}
    transaction.put(record.key, document)
    return document
