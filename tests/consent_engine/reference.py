"""A second reading of a Consent, for comparison: walks the JSON anew for every request and record.

Shares nothing with the engine but the canonical labels of records and the reading of single dates. It is slow, it
compiles nothing, and it follows the rules in the order in which docs/consent.md states them.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from consent_engine.dates import microseconds, span
from consent_engine.predicate import Attribute, Record
from consent_engine.resource_types import RESOURCE_TYPE_NAMES
from consent_engine.rules import AccessRequest
from tests.consent_engine.build import ACT_CODE, ACT_REASON, ACTION, CONFIDENTIALITY, PARTICIPATION, SCOPE, TYPES

ELEMENTS = (
    "id type period actor action securityLabel purpose class code dataPeriod data provision extension modifierExtension"
).split()
PARENT = {
    **dict.fromkeys(["TREAT", "HRESCH", "HPAYMT", "PATRQT"], "PurposeOfUse"),
    **{"ETREAT": "TREAT", "BTG": "ETREAT", "CLINTRCH": "HRESCH", "PurposeOfUse": None},
}
SENSITIVE_UNDER = {"SUD": ["SUD", "ETHUD", "OPIOIDUD"], "HIV": ["HIV"], "PSY": ["PSY"], "ETHUD": ["ETHUD"]}
ORDER = "ULMNRV"
RECIPIENT_SYSTEMS = ("v3-RoleCode", "v3-RoleClass", "extra-security-role-type")


class Doubt(Exception):
    """An element cannot be understood."""


class Asked:
    """One request for one record at one instant."""

    def __init__(self, request: AccessRequest, record: Record, at: datetime) -> None:
        self.request, self.record, self.at = request, record, at

    def has(self, attribute: Attribute, value: str) -> bool:
        return value in self.record.attributes.get(attribute, ())


def says(consent: dict[str, Any], asked: Asked, authority: str | None) -> str:
    """Return "silent", "permit", "deny" or "unusable"."""
    scope = {c["code"] for c in consent.get("scope", {}).get("coding", []) if c.get("system") == SCOPE}
    research = scope == {"research"}
    if consent.get("status") != "active" or not scope & {"patient-privacy", "research"}:
        return "silent"
    if research and "HRESCH" not in lineage(asked.request.purpose):
        return "silent"
    root = consent.get("provision")
    policy = directive(consent)
    own = (root or {}).get("type")
    if len(scope) > 1 or "modifierExtension" in consent or "both" in (policy,):
        return "unusable"
    if policy and own and policy != own:
        return "unusable"
    base = own or policy
    found = list(walk(root or {}, base, base, 0, [], asked))
    if authority is not None and not asked.has(Attribute.CUSTODIAN, authority):
        found = [each for each in found if each[1] == "deny"]
    if not found:
        return "silent"
    deepest = max(depth for depth, _ in found)
    return "deny" if (deepest, "deny") in found else "permit"


def directive(consent: dict[str, Any]) -> str | None:
    found = set()
    for each in consent.get("policyRule", {}).get("coding", []):
        if each.get("system") == ACT_CODE and each["code"] in ("OPTIN", "OPTINR"):
            found.add("permit")
        if each.get("system") in (ACT_CODE, None) and each["code"] in ("OPTOUT", "OPTOUTE"):
            found.add("deny")
    return "both" if len(found) == 2 else next(iter(found), None)


def walk(
    provision: dict[str, Any],
    effect: str | None,
    base: str | None,
    depth: int,
    above: list[tuple[dict[str, Any], str | None, bool]],
    asked: Asked,
) -> Iterator[tuple[int, str]]:
    """Yield depth and effect of every provision that matches together with all above it."""
    untold = depth > 0 and effect is None
    effect = "deny" if untold else effect
    path = [*above, (provision, effect, untold)]
    if effect == "deny" and all(matches(p, e or effect, asked)[1] for p, e, _ in path):
        yield depth, "deny"
    if effect == "permit" and all(matches(p, e or effect, asked)[0] and not u for p, e, u in path):
        yield depth, "permit"
    for nested in provision.get("provision", []):
        implied = {"permit": "deny", "deny": "permit", None: None}[base]
        yield from walk(nested, nested.get("type") or implied, base, depth + 1, path, asked)


def matches(provision: dict[str, Any], effect: str, asked: Asked) -> tuple[bool, bool]:
    """Whether the provision surely matches, and whether it may match."""
    if "modifierExtension" in provision:
        return False, True
    doubt = "extension" in provision or any(key not in ELEMENTS for key in provision)
    may = True
    for element, check in CHECKS.items():
        if element in provision:
            try:
                if not provision[element]:
                    raise Doubt
                may = check(provision[element], effect, asked) and may
            except (Doubt, KeyError):
                doubt = True
    return may and not doubt, may


def period(value: dict[str, Any], effect: str, asked: Asked) -> bool:
    start, end = bounds(value)
    return start <= asked.at < end


def data_period(value: dict[str, Any], effect: str, asked: Asked) -> bool:
    start, end = (microseconds(side) for side in bounds(value))
    if effect == "permit":
        return start <= asked.record.start and asked.record.end < end
    return asked.record.start < end and asked.record.end >= start


def bounds(value: dict[str, Any]) -> tuple[datetime, datetime]:
    sides = [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
    if not value.keys() & {"start", "end"}:
        raise Doubt
    for which, name in enumerate(("start", "end")):
        if name in value:
            covered = span(value[name], UTC)
            if covered is None:
                raise Doubt
            sides[which] = covered[which]
    if sides[0] >= sides[1]:
        raise Doubt
    return sides[0], sides[1]


def actor(value: list[dict[str, Any]], effect: str, asked: Asked) -> bool:
    named = [(role_of(each), literal(each["reference"])) for each in value]
    who = [reference for role, reference in named if role == "recipient"]
    custodians = [reference for role, reference in named if role == "custodian"]
    authors = [reference for role, reference in named if role == "author"]
    if not who:
        who, custodians = custodians, []
    if any(not reference.startswith("Organization/") for reference in custodians):
        raise Doubt
    return (
        (not who or any(reference in asked.request.actors for reference in who))
        and (not custodians or any(asked.has(Attribute.CUSTODIAN, c.split("/")[1]) for c in custodians))
        and (not authors or any(asked.has(Attribute.AUTHOR, reference) for reference in authors))
    )


def role_of(each: dict[str, Any]) -> str:
    kinds = set()
    for coding in each.get("role", {}).get("coding", []):
        system, code = coding.get("system"), coding.get("code")
        if not system:
            continue
        if system == PARTICIPATION:
            kinds.add({"IRCP": "recipient", "PRCP": "recipient", "CST": "custodian", "AUT": "author"}.get(code))
        elif system.endswith(RECIPIENT_SYSTEMS) or code in ("PROV", "GRANTEE", "DELEGATEE"):
            kinds.add("recipient")
    kinds -= {None}
    if len(kinds) != 1:
        raise Doubt
    return kinds.pop()


def literal(reference: dict[str, Any]) -> str:
    parts = reference["reference"].split("/_history/")[0].split("/")
    if len(parts) < 2 or not parts[-2].isalpha():
        raise Doubt
    return "/".join(parts[-2:])


def lineage(purpose: str) -> list[str]:
    found = [purpose]
    while PARENT.get(found[-1]):
        found.append(PARENT[found[-1]])
    return found


def purpose(value: list[dict[str, Any]], effect: str, asked: Asked) -> bool:
    if any(c.get("system") != ACT_REASON or c["code"] not in PARENT for c in value):
        raise Doubt
    if asked.request.purpose not in PARENT:
        raise Doubt
    return any(c["code"] in lineage(asked.request.purpose) for c in value)


def action(value: list[dict[str, Any]], effect: str, asked: Asked) -> bool:
    named: set[str] = set()
    for concept in value:
        known = {c["code"] for c in concept.get("coding", []) if c.get("system") == ACTION}
        known &= {"access", "use", "disclose", "collect", "correct"}
        if not known:
            raise Doubt
        named |= known
    return bool(named & ({"access", "use", "disclose"} if asked.request.action == "access" else {asked.request.action}))


def security_label(value: list[dict[str, Any]], effect: str, asked: Asked) -> bool:
    carried = asked.record.attributes.get(Attribute.LABEL, frozenset())
    ranked = [ORDER.index(label[2:]) for label in carried if label.startswith("C:")]
    highest = max(ranked) if ranked else ORDER.index("R" if asked.request.delegate else "N")
    ranks: list[int] = []
    granted: set[str] = set()
    for each in value:
        if not each.get("system") or not each.get("code") or each["system"].endswith("v3-ObservationValue"):
            raise Doubt
        known = {CONFIDENTIALITY: ORDER, ACT_CODE: SENSITIVE_UNDER}.get(each["system"])
        if known is not None and each["code"] not in known:
            raise Doubt
        if each["system"] == CONFIDENTIALITY:
            ranks.append(ORDER.index(each["code"]))
        elif each["system"] == ACT_CODE:
            granted |= {f"S:{code}" for code in SENSITIVE_UNDER[each["code"]]}
        else:
            granted.add(f"S:{each['system']}|{each['code']}")
    sensitive = {label for label in carried if label.startswith("S:")}
    if effect == "deny":
        return bool(sensitive & granted) or bool(ranks and highest >= min(ranks))
    if not ranks:
        return bool(sensitive) and sensitive <= granted
    return highest <= max(ranks) and sensitive <= granted


def classes(value: list[dict[str, Any]], effect: str, asked: Asked) -> bool:
    return any([one_class(each["system"], each["code"], asked) for each in value])


def one_class(system: str, code: str, asked: Asked) -> bool:
    base = "http://hl7.org/fhir/StructureDefinition"
    if system in (base, "urn:ietf:rfc:3986"):
        url = code if ":" in code or system != base else f"{base}/{code}"
        if url.rsplit("/", 1)[-1] not in RESOURCE_TYPE_NAMES or url.rsplit("/", 1)[0] != base:
            return asked.has(Attribute.PROFILE, url)
        system, code = TYPES, url.rsplit("/", 1)[-1]
    if system == TYPES:
        if code not in RESOURCE_TYPE_NAMES:
            raise Doubt
        return asked.has(Attribute.TYPE, code)
    return asked.has(Attribute.CODE, f"{system}|{code}")


def code(value: list[dict[str, Any]], effect: str, asked: Asked) -> bool:
    if not all(concept["coding"] for concept in value):
        raise Doubt
    wanted = [f"{c['system']}|{c['code']}" for concept in value for c in concept["coding"]]
    return any(asked.has(Attribute.CODE, each) for each in wanted)


def data(value: list[dict[str, Any]], effect: str, asked: Asked) -> bool:
    by_meaning = {"instance": Attribute.ID, "authoredby": Attribute.AUTHOR}
    wanted = [(by_meaning[each["meaning"]], literal(each["reference"])) for each in value]
    return any(asked.has(*each) for each in wanted)


CHECKS: dict[str, Callable[[Any, str, Asked], bool]] = {
    "period": period,
    "dataPeriod": data_period,
    "actor": actor,
    "purpose": purpose,
    "action": action,
    "securityLabel": security_label,
    "class": classes,
    "code": code,
    "data": data,
}
