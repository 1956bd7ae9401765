"""Problems that FHIR can say: an HTTP status, an issue-type code, where. Messages never carry patient data."""

from __future__ import annotations

from collections.abc import Iterable


class Problem(Exception):
    """A failed interaction.

    status: HTTP status. issue: code of http://hl7.org/fhir/issue-type.
    expression: FHIRPath of the element at fault, or None.
    """

    status = 500
    issue = "exception"

    def __init__(self, diagnostics: str, *, expression: str | None = None) -> None:
        super().__init__(diagnostics)
        self.diagnostics = diagnostics
        self.expression = expression
        self.headers: dict[str, str] = {}

    def issues(self) -> list[dict[str, object]]:
        """Return the issues of the OperationOutcome that says this."""
        issue: dict[str, object] = {"severity": "error", "code": self.issue, "diagnostics": self.diagnostics}
        if self.expression:
            issue["expression"] = [self.expression]
        return [issue]


class InvalidRequest(Problem):
    """The request cannot be read: bad JSON, bad header, bad Bundle."""

    status, issue = 400, "invalid"


class InvalidSearchValue(Problem):
    """A search parameter's value is not of its type."""

    status, issue = 400, "value"


class UnsupportedParameter(Problem):
    """A search parameter, modifier or result parameter that this server does not know."""

    status, issue = 400, "not-supported"


class InvalidResource(Problem):
    """The resource does not fit its R4 definition; `found` lists (code, expression, diagnostics)."""

    status, issue = 422, "structure"

    def __init__(self, found: list[tuple[str, str | None, str]]) -> None:
        code, expression, diagnostics = found[0]
        super().__init__(diagnostics, expression=expression)
        self.issue = code
        self.found = found

    def issues(self) -> list[dict[str, object]]:
        return [
            {"severity": "error", "code": code, "diagnostics": text, **({"expression": [where]} if where else {})}
            for code, where, text in self.found
        ]


class Unauthenticated(Problem):
    """No usable token came with the request."""

    status, issue = 401, "login"

    def __init__(self, diagnostics: str, *, error: str | None = None) -> None:
        """error: RFC 6750's code where a token came that is not valid; None where none came."""
        super().__init__(diagnostics)
        self.headers = {"WWW-Authenticate": 'Bearer realm="fhir"' + (f', error="{error}"' if error else "")}


class Forbidden(Problem):
    """The token alone, whatever the store holds, does not allow the interaction."""

    status, issue = 403, "forbidden"


class Absent(Problem):
    """The one answer for what does not exist and for what this requester may not see (consent.md, D12)."""

    status, issue = 404, "not-found"

    def __init__(self, diagnostics: str = "Resource not found.") -> None:
        super().__init__(diagnostics)


class Gone(Problem):
    """The resource was deleted, and the requester could have seen it."""

    status, issue = 410, "deleted"


class NotAllowed(Problem):
    """The method is not allowed here. methods: those that are (RFC 9110, 15.5.6)."""

    status, issue = 405, "not-supported"

    def __init__(self, diagnostics: str, *, expression: str | None = None, methods: Iterable[str] = ()) -> None:
        super().__init__(diagnostics, expression=expression)
        self.headers = {"Allow": ", ".join(methods)}


class NotAcceptable(Problem):
    """None of the media types asked for can be made."""

    status, issue = 406, "not-supported"


class Conflict(Problem):
    """Another write came first."""

    status, issue = 409, "conflict"


class PreconditionFailed(Problem):
    """If-Match names another version than the current one."""

    status, issue = 412, "conflict"


class SeveralMatches(PreconditionFailed):
    """A condition matches more resources than the interaction may be carried out on."""

    issue = "multiple-matches"


class Unprocessable(Problem):
    """A patch that can be read cannot be carried out on the resource as it is."""

    status, issue = 422, "processing"


class UnsupportedMedia(Problem):
    """The body is of a media type that this server does not read."""

    status, issue = 415, "not-supported"


class TooCostly(Problem):
    """The request would need more work than this server spends on one request."""

    status, issue = 400, "too-costly"


class TooLarge(Problem):
    """The body is larger than this server takes."""

    status, issue = 413, "too-long"
