"""Keys of clients, and the assertions they sign: proper ones, and those that a server must refuse."""

from __future__ import annotations

import hmac
import json
import secrets
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

CLIENT_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True, slots=True)
class Pair:
    """A key pair and the algorithm that it signs with, RS384 or ES384."""

    algorithm: str
    key: RSAKey | ECKey

    @property
    def public(self) -> dict[str, Any]:
        """The JWK set that a client registers."""
        return KeySet([self.key]).as_dict(private=False)

    def sign(self, claims: dict[str, Any], **header: Any) -> str:
        """Return a JWT. header: what differs from alg, kid and typ; None leaves one out."""
        full = {"alg": self.algorithm, "typ": "JWT", "kid": self.key.kid, **header}
        kept = {name: value for name, value in full.items() if value is not None}
        return jwt.encode(kept, claims, self.key, algorithms=[kept["alg"]])


def rs384(kid: str = "rsa-1") -> Pair:
    """Return a new RSA key."""
    return Pair("RS384", RSAKey.generate_key(2048, {"kid": kid}))


def es384(kid: str = "ec-1") -> Pair:
    """Return a new EC key on P-384."""
    return Pair("ES384", ECKey.generate_key("P-384", {"kid": kid}))


def stating(client: str, audience: str, **changes: Any) -> dict[str, Any]:
    """Return the claims by which a client says who it is (SMART 2.2, "Authentication JWT Claims").

    changes: claims that differ; None leaves one out.
    """
    usual = {"iss": client, "sub": client, "aud": audience, "exp": int(time.time()) + 240, "jti": secrets.token_hex(16)}
    return {name: value for name, value in {**usual, **changes}.items() if value is not None}


def unsigned(claims: dict[str, Any], kid: str) -> str:
    """Return a JWT with the algorithm "none"."""
    return f"{_part({'alg': 'none', 'kid': kid, 'typ': 'JWT'})}.{_part(claims)}."


def confused(claims: dict[str, Any], secret: bytes, kid: str, type: str = "JWT") -> str:
    """Return a JWT that is signed as HS256 with bytes that everybody has, such as those of a public key."""
    content = f"{_part({'alg': 'HS256', 'kid': kid, 'typ': type})}.{_part(claims)}"
    return f"{content}.{_encoded(hmac.digest(secret, content.encode(), sha256))}"


def _part(content: dict[str, Any]) -> str:
    return _encoded(json.dumps(content).encode())


def _encoded(content: bytes) -> str:
    return urlsafe_b64encode(content).decode().rstrip("=")
