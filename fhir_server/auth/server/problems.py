"""What the endpoints of the authorization server refuse, in RFC 6749's words; the descriptions say what to do.

Source: RFC 6749, 5.2; the codes and the form of the body are authlib's.
"""

from __future__ import annotations

from typing import Any

from authlib.oauth2.rfc6749.errors import (  # type: ignore[import-untyped]
    InvalidClientError,
    InvalidGrantError,
    InvalidRequestError,
    InvalidScopeError,
    OAuth2Error,
    UnauthorizedClientError,
    UnsupportedGrantTypeError,
)

NOT_STORED = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class OAuthProblem(Exception):
    """A refusal. said: authlib's error, which holds code and description. status: of HTTP."""

    def __init__(self, said: OAuth2Error, status: int = 400, *, challenge: bool = False) -> None:
        super().__init__(said.error)
        self.error: str = said.error
        self.status = status
        self.challenge = challenge
        self.body: dict[str, Any] = {"error": said.error, "error_description": said.get_error_description()}

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the refusal; whoever came with HTTP Basic is asked for it again (RFC 6749, 5.2)."""
        return {**NOT_STORED, **({"WWW-Authenticate": 'Basic realm="auth"'} if self.challenge else {})}


def invalid_request(description: str) -> OAuthProblem:
    return OAuthProblem(InvalidRequestError(description=description))


def invalid_client(description: str, *, challenge: bool = False) -> OAuthProblem:
    return OAuthProblem(InvalidClientError(description=description), 401, challenge=challenge)


def invalid_grant(description: str) -> OAuthProblem:
    return OAuthProblem(InvalidGrantError(description=description))


def invalid_scope(description: str) -> OAuthProblem:
    return OAuthProblem(InvalidScopeError(description=description))


def unauthorized_client(description: str) -> OAuthProblem:
    return OAuthProblem(UnauthorizedClientError(description=description))


def unsupported_grant_type(description: str) -> OAuthProblem:
    return OAuthProblem(OAuth2Error(description, error=UnsupportedGrantTypeError.error))
