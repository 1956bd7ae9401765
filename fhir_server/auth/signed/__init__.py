"""Signed access-control data: a client or account that was changed behind the server's back is refused (ADR 34)."""
