"""Signed bearer tokens: issued for local work and tests, verified once, then known by their hash.

Source: RFC 9068 (JWT profile for access tokens) as far as it fits; SMART App Launch 2.2 for `fhirUser` and `scope`.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from fhir_server.auth.requester import ID, INSTITUTIONAL, USER_TYPES, Requester, Role, is_reference
from fhir_server.auth.scopes import Scopes
from fhir_server.errors import Unauthenticated

ALGORITHM = "ES256"
KNOWN_TOKENS = 50_000


class InvalidClaims(ValueError):
    """What a token is to say does not fit together; the message says which part and why."""


def requester_of(claims: Mapping[str, Any]) -> Requester:
    """Return the requester that verified claims describe.

    Raises InvalidClaims if a part is missing or of the wrong form, or if more than one purpose is claimed: access is
    never widened by the union of purposes (consent.md, D8).
    """
    try:
        role = Role(claims["role"])
        user, organization, purpose = claims["fhirUser"], claims["org"], claims["purpose"]
    except (KeyError, ValueError) as error:
        raise InvalidClaims(f"role, fhirUser, org and purpose are needed: {error}") from error
    if not is_reference(user, USER_TYPES[role]):
        raise InvalidClaims(f"the user of a {role} token is a reference to {' or '.join(sorted(USER_TYPES[role]))}")
    if not ID.fullmatch(organization):
        raise InvalidClaims("org is the id of an Organization")
    if not isinstance(purpose, str) or not purpose.isalnum():
        raise InvalidClaims("purpose is one code of the v3 PurposeOfUse value set, such as TREAT")
    patient = claims.get("patient")
    if patient is not None and not is_reference(patient, frozenset({"Patient"})):
        raise InvalidClaims("patient is a reference to a Patient")
    return Requester(
        role=role,
        user=user,
        organization=organization,
        purpose=purpose,
        scopes=Scopes.parse(claims.get("scope", "")),
        patient=user if role is Role.PATIENT else patient,
        department=claims.get("department") if role in INSTITUTIONAL else None,
        practitioner_role=claims.get("practitionerRole") if role in INSTITUTIONAL else None,
        reason=claims.get("reason"),
        token=str(claims.get("jti", "")),
        client=claims.get("client_id"),
        grant=claims.get("grant"),
    )


class Bearer:
    """Issues and verifies this installation's tokens with its signing key (EC P-256)."""

    def __init__(self, key: ECKey, *, issuer: str) -> None:
        self._key = key
        self._issuer = issuer
        self._known: OrderedDict[bytes, tuple[float, Requester]] = OrderedDict()

    def issue(self, claims: Mapping[str, Any], *, lifetime: float) -> str:
        """Return a signed token that says these claims for `lifetime` seconds.

        Raises InvalidClaims.
        """
        requester_of(claims)
        now = int(time.time())
        full = {
            **claims,
            "iss": self._issuer,
            "iat": now,
            "exp": now + int(lifetime),
            "jti": secrets.token_urlsafe(12),
        }
        return jwt.encode({"alg": ALGORITHM, "typ": "at+jwt"}, full, self._key)

    def verify(self, token: str, *, now: float) -> Requester:
        """Return the requester of a token.

        now: seconds since 1970. Raises Unauthenticated if the token is not ours, damaged or expired.
        """
        digest = sha256(token.encode()).digest()
        known = self._known.get(digest)
        if known is None:
            known = self._verified(token)
            self._known[digest] = known
            if len(self._known) > KNOWN_TOKENS:
                self._known.popitem(last=False)
        expires, requester = known
        if now >= expires:
            raise Unauthenticated("The access token has expired: get a new one.")
        return requester

    def _verified(self, token: str) -> tuple[float, Requester]:
        try:
            claims = jwt.decode(token, self._key, algorithms=[ALGORITHM]).claims
            if claims.get("iss") != self._issuer:
                raise Unauthenticated("The access token was issued by somebody else.")
            return float(claims["exp"]), requester_of(claims)
        except (JoseError, InvalidClaims, KeyError, TypeError, ValueError) as error:
            raise Unauthenticated("The access token is not valid here.") from error
