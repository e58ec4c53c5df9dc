"""Values of the model's shapes to CBOR; for smithy-rpc-v2-cbor."""

from typing import Any

from stagedoor.wire import cbor


def value_of(shape: Any, value: Any) -> bytes:
    """The CBOR form of a value: absent and None members left out."""
    match shape.type_name:
        case "structure":
            return structure(shape, value)
        case "list":
            items = [b"\xf6" if item is None else value_of(shape.member, item) for item in value]
            return cbor.head(4, len(items)) + b"".join(items)
        case "map":
            entries = [
                cbor.text(key) + value_of(shape.value, item)
                for key, item in value.items()
                if item is not None
            ]
            return cbor.head(5, len(entries)) + b"".join(entries)
        case "timestamp":
            return cbor.timestamp(value)
        case "blob":
            return cbor.blob(value.encode("utf-8") if isinstance(value, str) else value)
        case "boolean":
            return cbor.boolean(value)
        case "integer" | "long":
            return cbor.integer(value)
        case "float":
            return cbor.single(value)
        case "double":
            return cbor.double(value)
        case _:
            return cbor.text(value)


def structure(shape: Any, value: Any, first: tuple[tuple[str, str], ...] = ()) -> bytes:
    """A structure; ``first`` are text entries put before the members (an error's ``__type``)."""
    entries = [cbor.text(name) + cbor.text(text) for name, text in first]
    for name, member in shape.members.items() if shape is not None else ():
        item = value.get(name)
        if item is not None:
            entries.append(cbor.text(member.serialization.get("name", name)) + value_of(member, item))
    return cbor.head(5, len(entries)) + b"".join(entries)
