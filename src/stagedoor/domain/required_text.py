"""The text that every line must have which a regular expression matches: looking for it first is far cheaper. Pure.

Place in the flow: ``domain.metric_patterns`` asks once for each pattern.
"""

import re

# What ends a run of characters that a matching line must contain as they stand.
_ESCAPED_LITERALS = frozenset(".^$*+?{}[]()|\\/-#<>=:,%' ")
_FLAGS = re.compile(r"\(\?[a-zA-Z]")


def required_text(regex: str) -> str:
    """The longest text that every line must contain where ``regex`` matches; empty when that is not plain to see."""
    if _FLAGS.search(regex):
        return ""  # (?i) and the like: letters need not stand as they are
    runs, run = [""], ""
    depth, position = 0, 0
    while position < len(regex):
        character = regex[position]
        position += 1
        if character == "[":
            position = _after_class(regex, position)
            character = ""
        elif character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
        elif character == "|" and depth == 0:
            return ""
        elif character == "\\":
            character = regex[position] if position < len(regex) else ""
            position += 1
            if depth == 0 and character in _ESCAPED_LITERALS:
                run += character
                continue
        elif depth == 0 and character in "*?{":
            runs.append(run[:-1])  # what stands before may be missing
            run = ""
            if character == "{":
                position = regex.find("}", position) + 1 or len(regex)
            continue
        elif depth == 0 and character not in ".^$+":
            run += character
            continue
        runs.append(run)
        run = ""
    return max([*runs, run], key=len)


def _after_class(regex: str, position: int) -> int:
    """Behind the bracket that ends a class of characters begun before ``position``."""
    if regex[position : position + 1] == "^":
        position += 1
    if regex[position : position + 1] == "]":
        position += 1  # one that comes first is a member
    while position < len(regex) and regex[position] != "]":
        position += 2 if regex[position] == "\\" else 1
    return position + 1
