"""What must stand in a line before a pattern is tried on it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stagedoor.domain.required_text import required_text
from stagedoor.worker.algorithms.specification import NAMES, specification


@pytest.mark.parametrize(
    ("regex", "text"),
    [
        (r"loss: (\d+\.\d+)", "loss: "),
        (r"#quality_metric: host=\S+, test mse <loss>=(\S+)", "#quality_metric: host="),
        (r"colou?r=([0-9.]+)", "colo"),
        (r"one|another", ""),
        (r"(one|another) thing=(\d)", " thing="),
        (r"a{2,3}bcd[\]x]ef", "bcd"),
        (r"[]x]abc", "abc"),
        (r"(?i)Loss=(.*)", ""),
        (r"a\.b=(.)", "a.b="),
    ],
)
def test_text_that_must_be_there(regex: str, text: str) -> None:
    assert required_text(regex) == text


@given(
    st.lists(st.sampled_from(["ab", "c?", "d*", "e+", "[fg]", "(h|i)", "j{0,2}", r"\.", "."]), max_size=6),
    st.data(),
)
def test_no_line_that_matches_is_left_out(parts: list[str], data: st.DataObject) -> None:
    regex = "".join(parts)
    line = data.draw(st.from_regex(regex))
    assert re.search(regex, line)
    assert required_text(regex) in line


@pytest.mark.parametrize("name", NAMES)
def test_every_algorithms_definitions_can_be_searched_quickly(name: str) -> None:
    for definition in specification(name).metric_definitions:
        assert len(required_text(definition["Regex"])) > 5, definition
