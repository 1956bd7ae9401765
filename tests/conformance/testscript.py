"""Runs FHIR TestScripts against a server: as much of TestScript (FHIR R4, testscript.html) as the scripts here use.

What a script asks for beyond that raises NotImplementedError; nothing is passed over in silence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx

Json = dict[str, Any]

# Operators of assert (http://hl7.org/fhir/assert-operator-codes): found, expected -> whether it holds.
OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "equals": lambda found, expected: found == expected,
    "notEquals": lambda found, expected: found != expected,
    "in": lambda found, expected: found in expected.split(","),
    "notIn": lambda found, expected: found not in expected.split(","),
    "empty": lambda found, _: not found,
    "notEmpty": lambda found, _: bool(found),
    "contains": lambda found, expected: expected in found,
    "notContains": lambda found, expected: expected not in found,
    # Not one of R4's own codes: the scripts' own extension.
    "matchesRegex": lambda found, expected: re.search(expected, found) is not None,
}
# What an assert looks at, by the member of it that says what is expected there.
SUBJECTS: dict[str, Callable[[httpx.Response], str]] = {
    "responseCode": lambda answer: str(answer.status_code),
    "contentType": lambda answer: answer.headers.get("content-type", ""),
    "responseBody": lambda answer: answer.text,
}
# Where an operation goes, by its code (http://terminology.hl7.org/CodeSystem/testscript-operation-codes).
PATHS = {"capabilities": "metadata", "read": "{resource}", "search": "{resource}", "history": "{resource}/_history"}
ABOUT = {"label", "description", "type", "operator", "encodeRequestUrl", "resource", "params", "requestHeader"}


def failures(script: Json, client: httpx.Client) -> Iterator[str]:
    """Run a script; yield what of its asserts does not hold."""
    for test in script["test"]:
        answer: httpx.Response | None = None
        for action in test["action"]:
            if "operation" in action:
                answer = operated(action["operation"], client)
            elif answer is not None and not holds(action["assert"], answer):
                yield f"{test['name']}: {action['assert'].get('label')} (answered {answer.status_code})"


def operated(operation: Json, client: httpx.Client) -> httpx.Response:
    """Return the answer to an operation; all that the scripts use are GETs."""
    _check(operation, ABOUT)
    path = PATHS[operation["type"]["code"]].format(resource=operation.get("resource", ""))
    headers = {each["field"]: each["value"] for each in operation.get("requestHeader", ())}
    url = (path + operation.get("params", "")).lstrip("/")
    return client.get(url, headers=headers)


def holds(asserted: Json, answer: httpx.Response) -> bool:
    """Return whether an assert holds of an answer. Without an operator it is "equals" (R4, TestScript)."""
    operator = OPERATORS[asserted.get("operator", "equals")]
    if field := asserted.get("headerField"):
        _check(asserted, ABOUT | {"headerField", "value"})
        return operator(answer.headers.get(field, ""), asserted.get("value", ""))
    _check(asserted, ABOUT | SUBJECTS.keys())
    (subject,) = SUBJECTS.keys() & asserted.keys()
    return operator(SUBJECTS[subject](answer), asserted[subject])


def _check(said: Json, known: set[str]) -> None:
    if unknown := said.keys() - known:
        raise NotImplementedError(f"TestScript: {', '.join(sorted(unknown))}")
