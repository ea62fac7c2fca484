"""Sealed values open only with a known key and only in their own place."""

import secrets

import pytest

from bx24app.crypto import Keyring, SealBroken, UnknownKey, keyed_digest

OLD, NEW = secrets.token_bytes(32), secrets.token_bytes(32)


def test_a_sealed_value_opens_in_its_place() -> None:
    keyring = Keyring((NEW,))
    sealed = keyring.seal("canary", "credential.access_token.a1")
    assert "canary" not in sealed
    assert keyring.open_sealed(sealed, "credential.access_token.a1") == "canary"


def test_the_same_value_is_never_sealed_alike_twice() -> None:
    keyring = Keyring((NEW,))
    assert keyring.seal("x", "p") != keyring.seal("x", "p")


@pytest.mark.parametrize("place", ["credential.access_token.b2", "credential.refresh_token.a1"])
def test_a_value_moved_to_another_place_does_not_open(place: str) -> None:
    keyring = Keyring((NEW,))
    sealed = keyring.seal("canary", "credential.access_token.a1")
    with pytest.raises(SealBroken):
        keyring.open_sealed(sealed, place)


def test_an_older_key_still_opens_and_the_first_one_seals() -> None:
    sealed = Keyring((OLD,)).seal("canary", "p")
    rotated = Keyring((NEW, OLD))
    assert rotated.open_sealed(sealed, "p") == "canary"
    with pytest.raises(UnknownKey):
        Keyring((OLD,)).open_sealed(rotated.seal("canary", "p"), "p")


def test_an_altered_value_does_not_open() -> None:
    keyring = Keyring((NEW,))
    sealed = keyring.seal("canary", "p")
    altered = sealed[:-6] + ("AAAAAA" if not sealed.endswith("AAAAAA") else "BBBBBB")
    for broken in (altered, sealed[:-1], sealed[:12], sealed.partition(".")[0], ""):
        with pytest.raises(SealBroken):
            keyring.open_sealed(broken, "p")


def test_digests_are_separated_by_key_and_purpose() -> None:
    assert keyed_digest(OLD, "number", "1") == keyed_digest(OLD, "number", "1")
    assert len({keyed_digest(OLD, "number", "1"), keyed_digest(NEW, "number", "1"), keyed_digest(OLD, "x", "1")}) == 3
