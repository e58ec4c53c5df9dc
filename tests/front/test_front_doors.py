"""What a listener refuses, front processes refuse too: the same tests again, against a server that has two of them.

Imported tests find this module's server in place of the shared one.
"""

from collections.abc import Iterator

import pytest
from hardening.test_body_limits import (
    test_case_37_a_length_beyond_the_limit_is_413_before_a_byte_of_it_is_sent,
    test_case_37_chunks_beyond_the_limit_are_413_and_the_rest_is_not_read,
    test_case_37_the_limit_itself_is_allowed,
    test_case_37_who_is_not_known_is_refused_before_the_body,
)
from hardening.test_request_framing import (
    test_case_34_a_smuggled_request_is_part_of_the_body_or_nothing,
    test_case_34_what_two_readers_could_read_in_two_ways_is_400_and_the_end,
    test_case_35_heads_beyond_measure_are_refused,
)
from journeys.deployed import Deployed
from journeys.test_closed_door import TestTheDataPath as TheDataPath
from services.identities import unique

from stagedoor.testing import Server

__all__ = [
    "test_case_34_a_smuggled_request_is_part_of_the_body_or_nothing",
    "test_case_34_what_two_readers_could_read_in_two_ways_is_400_and_the_end",
    "test_case_35_heads_beyond_measure_are_refused",
    "test_case_37_a_length_beyond_the_limit_is_413_before_a_byte_of_it_is_sent",
    "test_case_37_chunks_beyond_the_limit_are_413_and_the_rest_is_not_read",
    "test_case_37_the_limit_itself_is_allowed",
    "test_case_37_who_is_not_known_is_refused_before_the_body",
]


@pytest.fixture(scope="module")
def stagedoor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("doors") / "data", None, "--fronts", "2").start()
    yield server
    server.close()


@pytest.fixture(scope="module")
def app(stagedoor: Server) -> Deployed:
    return Deployed(stagedoor, unique("doors")).bucket().model().endpoint()


class TestTheDataPath(TheDataPath):
    """Wrong secrets, unknown keys, changed requests, wrong clocks, as the control process refuses them."""
