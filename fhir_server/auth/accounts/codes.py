"""The second factor: six digits of an authenticator app, new every 30 seconds.

Source: RFC 6238 (TOTP); section 5.2: a code is taken once, and one step of clock skew to either side is allowed.
"""

from __future__ import annotations

import hmac
import io

import pyotp
import segno

STEP = 30  # seconds
SKEW = (0, -1, 1)  # steps


def new_secret() -> str:
    """Return a fresh secret: 160 bits, base32."""
    return pyotp.random_base32(32)


def step_of(secret: str, code: str, *, now: float, after: int) -> int | None:
    """Return the time step whose code this is, None if it is none of those that count now.

    now: seconds since 1970. after: the last step whose code was taken; neither it nor an earlier one counts again.

    >>> step_of("JBSWY3DPEHPK3PXPJBSWY3DP", pyotp.TOTP("JBSWY3DPEHPK3PXPJBSWY3DP").at(600), now=600, after=0)
    20
    >>> step_of("JBSWY3DPEHPK3PXPJBSWY3DP", pyotp.TOTP("JBSWY3DPEHPK3PXPJBSWY3DP").at(600), now=600, after=20) is None
    True
    """
    given = "".join(code.split()).encode()
    present = int(now) // STEP
    generator = pyotp.TOTP(secret)
    for step in (present + each for each in SKEW):
        if hmac.compare_digest(generator.generate_otp(step).encode(), given) and step > after:
            return step
    return None


def address(secret: str, login: str, issuer: str) -> str:
    """Return the otpauth URI that authenticator apps read."""
    return pyotp.TOTP(secret).provisioning_uri(name=login, issuer_name=issuer)


def picture(uri: str, title: str) -> str:
    """Return the QR code of a URI as an SVG element that stands in a page."""
    drawn = io.BytesIO()
    segno.make(uri, micro=False).save(
        drawn, kind="svg", scale=5, border=4, dark="#000", light="#fff", xmldecl=False, svgns=True, title=title
    )
    return drawn.getvalue().decode()
