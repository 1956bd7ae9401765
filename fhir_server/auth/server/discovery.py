"""What the authorization server says of itself.

Source: SMART App Launch 2.2, "Conformance" (.well-known/smart-configuration); RFC 8414; OpenID Connect Discovery 1.0.
"""

from __future__ import annotations

from typing import Any

from fhir_server.auth.server.assertions import ALGORITHMS as ASSERTED
from fhir_server.auth.server.clients import ASSERTION, CODE, CREDENTIALS, REFRESH
from fhir_server.auth.server.signing import ALGORITHMS, Use

Json = dict[str, Any]

# SMART App Launch 2.2, "Conformance", "Capabilities".
CAPABILITIES = (
    "launch-ehr",
    "launch-standalone",
    "authorize-post",
    "client-public",
    "client-confidential-symmetric",
    "client-confidential-asymmetric",
    "sso-openid-connect",
    "context-banner",
    "context-ehr-patient",
    "context-ehr-encounter",
    "context-standalone-patient",
    "context-standalone-encounter",
    "permission-offline",
    "permission-online",
    "permission-patient",
    "permission-user",
    "permission-v1",
    "permission-v2",
)
# The contexts of scopes for FHIR resources are named once, with the wildcard.
SCOPES = (
    "openid",
    "fhirUser",
    "launch",
    "launch/patient",
    "launch/encounter",
    "offline_access",
    "online_access",
    "patient/*.cruds",
    "user/*.cruds",
    "system/*.cruds",
)
METHODS = ("client_secret_basic", "client_secret_post", "private_key_jwt")


def authorization_server(origin: str) -> Json:
    """Return the metadata of RFC 8414. origin: the issuer."""
    return {
        "issuer": origin,
        "jwks_uri": f"{origin}/auth/jwks",
        "authorization_endpoint": f"{origin}/auth/authorize",
        "token_endpoint": f"{origin}/auth/token",
        "token_endpoint_auth_methods_supported": [*METHODS, "none"],
        "token_endpoint_auth_signing_alg_values_supported": list(ASSERTED),
        "grant_types_supported": [CODE, REFRESH, CREDENTIALS, ASSERTION],
        "scopes_supported": list(SCOPES),
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "code_challenge_methods_supported": ["S256"],
        "introspection_endpoint": f"{origin}/auth/introspect",
        "introspection_endpoint_auth_methods_supported": list(METHODS),
        "introspection_endpoint_auth_signing_alg_values_supported": list(ASSERTED),
        "revocation_endpoint": f"{origin}/auth/revoke",
        "revocation_endpoint_auth_methods_supported": [*METHODS, "none"],
        "revocation_endpoint_auth_signing_alg_values_supported": list(ASSERTED),
        "authorization_response_iss_parameter_supported": True,
    }


def smart_configuration(origin: str) -> Json:
    """Return SMART's configuration of the FHIR server."""
    return {**authorization_server(origin), "capabilities": list(CAPABILITIES)}


def openid_configuration(origin: str) -> Json:
    """Return OpenID Connect's configuration."""
    return {
        **authorization_server(origin),
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ALGORITHMS[Use.IDENTITY]],
        "claims_supported": ["sub", "iss", "aud", "exp", "iat", "auth_time", "nonce", "at_hash", "fhirUser"],
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
        "claims_parameter_supported": False,
        "end_session_endpoint": f"{origin}/auth/sign-out",
    }
