"""Timestamps on the wire: ISO 8601, RFC 822 (HTTP dates) and seconds since the epoch, to ``datetime`` and back."""

import math
import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:?\d\d)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d{1,20}(\.\d{1,20})?([eE][+-]?\d{1,3})?", re.ASCII)
_HTTP_FRACTION = re.compile(r"(:\d\d)\.\d{1,9} ", re.ASCII)


def from_epoch(seconds: float) -> datetime:
    """An aware UTC datetime, to the microsecond. ValueError outside the years 1 to 9999."""
    if not math.isfinite(seconds):
        raise ValueError("not a point in time")
    try:
        whole = math.floor(seconds)
        return _EPOCH + timedelta(seconds=whole, microseconds=round((seconds - whole) * 1_000_000))
    except OverflowError as error:
        raise ValueError("outside the years 1 to 9999") from error


def parse(value: object) -> datetime:
    """A timestamp in any of the three wire formats; ValueError for anything else.

    The formats cannot be mistaken for one another, so the one the model asks for is not insisted upon: clients of
    different languages differ here, and AWS accepts them.
    """
    if isinstance(value, datetime):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return from_epoch(value)
    if not isinstance(value, str):
        raise ValueError("neither text nor number")
    text = value.strip()
    if _DATE_TIME.fullmatch(text):
        moment = datetime.fromisoformat(text)
    elif _NUMBER.fullmatch(text):
        return from_epoch(float(text))
    elif len(text) <= 64:
        try:
            moment = parsedate_to_datetime(_HTTP_FRACTION.sub(r"\1 ", text))
        except (TypeError, IndexError, OverflowError) as error:
            raise ValueError("not a date") from error
    else:
        raise ValueError("not a date")
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("outside the years 1 to 9999") from error


def to_datetime(value: object) -> datetime:
    """What a handler may give for a timestamp (datetime, or seconds since the epoch) as an aware UTC datetime."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return from_epoch(value)
    raise TypeError(f"a timestamp must be a datetime or seconds since the epoch, not {type(value).__name__}")


def epoch(value: object) -> int | float:
    """Seconds since the epoch, to the millisecond; an int when there is no fraction."""
    moment = to_datetime(value)
    delta = moment - _EPOCH
    milliseconds = (delta.days * 86_400 + delta.seconds) * 1000 + delta.microseconds // 1000
    return milliseconds // 1000 if milliseconds % 1000 == 0 else milliseconds / 1000


def render(value: object, form: str, *, iso8601_fraction: str = "present") -> str:
    """A timestamp as text in the format ``iso8601``, ``rfc822`` or ``unixTimestamp``."""
    match form.lower():
        case "unixtimestamp":
            return str(epoch(value))
        case "rfc822":
            return format_datetime(to_datetime(value).replace(microsecond=0), usegmt=True)
        case "iso8601":
            return _iso8601(to_datetime(value), iso8601_fraction)
        case _:
            raise ValueError(f"unknown timestamp format {form}")


def _iso8601(moment: datetime, fraction: str) -> str:
    milliseconds = moment.microsecond // 1000
    text = moment.replace(microsecond=0, tzinfo=None).isoformat()
    if fraction == "always" or (fraction == "present" and milliseconds):
        return f"{text}.{milliseconds:03d}Z"
    return f"{text}Z"
