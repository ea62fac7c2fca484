"""The challenge for a visitor's browser: a proof of work, or without JavaScript a timed token.

The proof is that of ALTCHA, version 2: the browser repeats PBKDF2/SHA-256 with a growing counter until the derived key
begins as the signed challenge says. We choose the counter ourselves, so a check costs two HMACs and no derivation.
"""

import hashlib
import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import altcha
from itsdangerous import BadSignature

from bx24app.errors import RateLimited
from bx24app.models import utcnow
from bx24app.services.runtime.local_limit import LocalLimit, take_local
from bx24app.services.security import signing
from bx24app.services.security.last_restore import is_signed_since

ALGORITHM = "PBKDF2/SHA-256"
# Iterations of one derivation, and how many derivations a browser needs: six million iterations, half a second on a
# usual one. Making a challenge costs us one derivation, checking it none.
PROOF_COST = 5000
PROOF_COUNTER = (700, 1700)
PROOF_LIFETIME = timedelta(minutes=20)
# Each costs us a derivation. One address may be that of a whole office, and each of its visitors needs one.
CHALLENGES_FOR_ADDRESS = 120
CHALLENGE_RETRY_SECONDS = 5
TOKEN_LIFETIME = timedelta(hours=2)
# A person needs more time than this to fill in the form.
MINIMAL_FILL_TIME = timedelta(seconds=2)
MAX_PROOF_LENGTH = 4000
FORM_SALT = "bx24app.form"


@dataclass(frozen=True)
class FormProof:
    """A valid proof or token of a form that was requested at ``issued_at``; ``digest`` names it, as it is used once."""

    digest: str
    issued_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class _ChallengeKeys:
    challenge: bytes
    solution: bytes


def _keys() -> list[_ChallengeKeys]:
    """Return the keys, the current ones first: they sign challenges, while a proof may be signed with any."""
    pairs = zip(
        signing.derived_keys("bx24app.altcha.challenge"), signing.derived_keys("bx24app.altcha.key"), strict=True
    )
    return [_ChallengeKeys(*pair) for pair in pairs]


def new_challenge_for(form_key: str, network: str) -> dict[str, Any]:
    """Make a challenge for a visitor of one form, by the address that limits count; raises ``RateLimited``."""
    if not take_local(LocalLimit("challenges", CHALLENGES_FOR_ADDRESS), network):
        refusal = RateLimited("challenges")
        refusal.retry_after = CHALLENGE_RETRY_SECONDS
        raise refusal
    return new_challenge(form_key)


def new_challenge(form_key: str) -> dict[str, Any]:
    """Make a challenge for one form, as JSON; the browser has to solve it within ``PROOF_LIFETIME``.

    No two share a derivation: whoever solves one would have solved all, and the work is what each request costs.
    """
    keys, now = _keys()[0], utcnow()
    low, high = PROOF_COUNTER
    challenge = altcha.create_challenge(
        ALGORITHM,
        PROOF_COST,
        counter=low + secrets.randbelow(high - low),
        expires_at=now + PROOF_LIFETIME,
        data={"form": form_key, "at": int(now.timestamp())},
        hmac_secret=keys.challenge,
        hmac_key_secret=keys.solution,
    )
    fields: dict[str, Any] = challenge.to_dict()
    return fields


def read_proof(payload: str, form_key: str) -> FormProof | None:
    """Read a solved challenge; None when it is forged, too old, of another form, or not solved.

    Too old is also what was made before the database was restored; call it outside of transactions.
    """
    if len(payload) > MAX_PROOF_LENGTH:
        return None
    try:
        solved = altcha.Payload.from_base64(payload)
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    # The library rejects a signature that is not ASCII and a counter that is not a number.
    if not any(_is_solved(solved, keys) for keys in _keys()):
        return None
    data, expires_at = solved.challenge.parameters.data, solved.challenge.parameters.expires_at
    if not data or data.get("form") != form_key or not expires_at:
        return None
    issued_at = datetime.fromtimestamp(data["at"], UTC)
    if not is_signed_since(issued_at):
        return None  # It may be spent, which was forgotten with the rest.
    digest = _spent("proof", form_key, solved.challenge.parameters.nonce, solved.challenge.parameters.salt)
    return FormProof(digest, issued_at, datetime.fromtimestamp(expires_at, UTC))


def _is_solved(solved: altcha.Payload, keys: _ChallengeKeys) -> bool:
    result = altcha.verify_solution(solved, keys.challenge, hmac_key_secret=keys.solution)
    return result.verified is True


def new_token(form_key: str) -> str:
    """Make a timed token for the hosted form; it says when the page was requested."""
    return str(signing.serializer(FORM_SALT).dumps([form_key, secrets.token_hex(8)]))


def read_token(signed: str, form_key: str) -> FormProof | None:
    """Read a timed token; None when it is forged, too old, or of another form."""
    if len(signed) > MAX_PROOF_LENGTH:
        return None
    try:
        content, issued_at = signing.read_timed(FORM_SALT, signed, TOKEN_LIFETIME)
    except BadSignature:
        return None
    match content:
        case [str(form), str(nonce)] if form == form_key and is_signed_since(issued_at):
            return FormProof(_spent("token", form_key, nonce), issued_at, issued_at + TOKEN_LIFETIME)
    return None


def _spent(*content: str) -> str:
    """What is spent: the content that was signed, for the same content has many spellings that are all genuine."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
