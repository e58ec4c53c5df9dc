"""Case 40: whoever names a place for the server to connect to cannot name the server's own surroundings."""

import asyncio
from collections.abc import Sequence

import pytest

from stagedoor.http.destinations import (
    Destination,
    Destinations,
    ForbiddenDestinationError,
    system_resolve,
    why_forbidden,
)

OPEN = [
    "93.184.215.14",
    "8.8.8.8",
    "2606:2800:21f:cb07:6820:80da:af6b:8b2c",
    "64:ff9b::5db8:d70e",
    "2002:5db8:d70e::1",
]
CLOSED = [
    "127.0.0.1", "127.1.2.3", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1",
    "169.254.169.254", "169.254.170.2", "192.0.0.192", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1",
    # IPv4 inside IPv6: mapped, compatible, 6to4, NAT64, Teredo (the client's address, inverted).
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:7f00:1", "::127.0.0.1", "2002:7f00:1::", "2002:a9fe:a9fe::",
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", "2001:0:0:0:0:0:80ff:fffe",
    "localhost", "", "1.2.3", "not an address",
]  # fmt: skip


def resolving_to(*addresses: str) -> Destinations:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return list(addresses)

    return Destinations(resolve=resolve)


def judged(destinations: Destinations, url: str, redirected_from: str = "") -> Destination:
    return asyncio.run(destinations.of_url(url, redirected_from))


@pytest.mark.parametrize("address", OPEN)
def test_case_40_the_internet_is_open(address: str) -> None:
    assert why_forbidden(address) is None


@pytest.mark.parametrize("address", CLOSED)
def test_case_40_surroundings_are_closed(address: str) -> None:
    assert why_forbidden(address)


@pytest.mark.parametrize(
    "host",
    ["localhost", "127.0.0.1", "127.1", "0", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]",
     "169.254.169.254", "2852039166", "0xa9fea9fe"],
)  # fmt: skip
@pytest.mark.parametrize("port", [80, 4566])
def test_case_40_no_spelling_of_an_address_gets_through(host: str, port: int) -> None:
    destinations = Destinations(resolve=system_resolve)
    # The form is no name at all for some systems; what matters is that nothing is handed out to connect to.
    with pytest.raises((ForbiddenDestinationError, OSError)):
        judged(destinations, f"http://{host}:{port}/latest/meta-data/")


def test_case_40_names_are_judged_by_all_their_addresses() -> None:
    with pytest.raises(ForbiddenDestinationError, match="link-local"):
        judged(resolving_to("169.254.169.254"), "https://metadata.example/")
    with pytest.raises(ForbiddenDestinationError, match=r"rebound.example \(127.0.0.1\) is this machine"):
        judged(resolving_to("8.8.8.8", "127.0.0.1"), "https://rebound.example/")


def test_case_40_what_was_judged_is_what_is_connected_to() -> None:
    answers = [["8.8.8.8"], ["127.0.0.1"]]

    async def rebinding(host: str, port: int) -> Sequence[str]:
        return answers.pop(0)

    found = judged(Destinations(resolve=rebinding), "https://rebinding.example/x")
    assert found == Destination("rebinding.example", 443, ("8.8.8.8",))


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://example.com/", "gopher://example.com/", "unix:/run/x", "//example.com/", "example.com",
     "http://", "http:///x", "http://user:secret@example.com/", "http://example.com:0/", "http://example.com:x/",
     "http://[::1/", "http://exa mple.com/", "http://example.com\\@127.0.0.1/"],
)  # fmt: skip
def test_case_40_only_plain_http_urls(url: str) -> None:
    with pytest.raises(ForbiddenDestinationError) as refused:
        judged(resolving_to("8.8.8.8"), url)
    assert "secret" not in str(refused.value)


def test_case_40_redirects_are_judged_again() -> None:
    open_place = resolving_to("8.8.8.8")
    assert judged(open_place, "/next", "https://example.com/a").host == "example.com"
    with pytest.raises(ForbiddenDestinationError):
        judged(open_place, "file:///etc/passwd", "https://example.com/")
    with pytest.raises(ForbiddenDestinationError, match="leaves https"):
        judged(open_place, "http://example.com/", "https://example.com/")
    with pytest.raises(ForbiddenDestinationError, match="is this machine"):
        judged(Destinations(), "http://127.0.0.1:4566/", "http://example.com/")
    with pytest.raises(ForbiddenDestinationError, match="is this machine"):
        judged(resolving_to("127.0.0.1"), "/again", "https://example.com/")


def test_case_40_private_places_can_be_opened_and_metadata_never() -> None:
    destinations = Destinations(private=True)
    assert judged(destinations, "http://127.0.0.1:8000/").addresses == ("127.0.0.1",)
    for url in (
        "http://169.254.169.254/",
        "http://[::ffff:169.254.169.254]/",
        "http://[fe80::1]/",
        "http://0.0.0.0/",
    ):
        with pytest.raises(ForbiddenDestinationError):
            judged(destinations, url)
