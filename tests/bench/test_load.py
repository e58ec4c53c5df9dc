"""The load that is measured: what must be refused is marked, and every answer is counted."""

from bench import load
from bench.load import Asked
from bench.peers import catalogue
from botocore.credentials import Credentials

KEYS = Credentials("AKIAEXAMPLE", "secret")


def asked() -> Asked:
    return load.request("POST", "http://127.0.0.1:1/endpoints/x/invocations", b"1,2", credentials=KEYS)


def test_a_forged_request_differs_in_one_digit_of_its_signature_alone() -> None:
    good = asked()
    forged = load.forged(good)
    differing = [at for at, (a, b) in enumerate(zip(good.raw, forged.raw, strict=True)) if a != b]
    assert forged.is_refused and not good.is_refused
    assert len(differing) == 1
    assert differing[0] == good.raw.index(b"Signature=") + len(b"Signature=") + 63


def test_scores_are_found_whatever_a_peer_wraps_around_them() -> None:
    assert catalogue.score(b"0.25") == 0.25
    assert catalogue.score(b'{"predictions": [0.25]}') == 0.25
    assert (
        catalogue.score(b'{"id": "1d36c18d-7286-48e8", "outputs": [{"shape": [1, 1], "data": [0.25]}]}')
        == 0.25
    )


def test_every_peer_names_pinned_requirements_without_addresses() -> None:
    for peer in catalogue.PEERS:
        lines = (catalogue.HERE / peer.folder / "requirements.txt").read_text().splitlines()
        assert lines
        assert all("==" in line and "://" not in line for line in lines), peer.name
