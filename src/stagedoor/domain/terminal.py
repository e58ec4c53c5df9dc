"""Text for a terminal: whoever named a thing or printed a line must not drive the operator's screen."""


def printable(text: str) -> str:
    """``text`` in one line, with everything that a terminal would obey written out in hexadecimal."""
    return "".join(c if c.isprintable() or c == "\t" else f"\\x{ord(c):02x}" for c in text)
