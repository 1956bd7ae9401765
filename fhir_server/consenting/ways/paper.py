"""A signed paper form, scanned in: a document that the institution keeps, whose digest goes into Consent.verification.

A named person at the institution holds the signature against the patient. The scan is of this patient, may be read by who
brings it, and serves one request: what was signed for one cannot be handed in for another. All of it is the institution's
word (asked.py, Proof).
Source: 电子签名法 art. 5 and 8 (a scan counts as the original if it can be told that it was not changed).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any

from cryptography.hazmat.primitives import hashes

from fhir_server.auth.requester import is_reference
from fhir_server.consenting.asked import NotVerified, Proof, Request
from fhir_server.consenting.ways.box import Box
from fhir_server.consenting.ways.desk import Desk
from fhir_server.consenting.ways.way import Bringer
from fhir_server.consenting.ways.wording import form
from fhir_server.store.commit import DURABLE, Unit
from fhir_server.store.resources import Document

Json = Mapping[str, Any]
EVIDENCE = "consent_evidence"
TOLD = "请打印以下内容，由患者签名，扫描后存为 DocumentReference 或 Binary，再连同核对人一并提交。"
NO_DOCUMENT = "找不到可用的扫描件：它须由本机构保存、属于该患者并含有内容。"
NO_WITNESS = "请写明本机构中核对签名的人（Practitioner）。"
USED = "此扫描件已用于另一项授权，请患者为本次请求另行签名。"
_BINARY = re.compile(r"(?:.*/)?Binary/([A-Za-z0-9\-.]{1,64})(?:/_history/[^/]+)?")


class Paper:
    """Signed forms."""

    code = "paper"

    def __init__(self, desk: Desk, box: Box) -> None:
        self._desk = desk
        self._box = box
        self._used = desk.database.get_collection(EVIDENCE, write_concern=DURABLE)

    async def ask(self, request: Request, unit: Unit, *, at: int) -> str:
        """Return what the form says; nothing is sent."""
        return f"{TOLD}{form(await self._desk.what(request))}"

    async def proven(self, request: Request, proof: Mapping[str, str], unit: Unit, *, by: Bringer, at: int) -> Proof:
        """Return the proof that a scan is. proof: "document" and "witness", references. Raises NotVerified."""
        witness = proof.get("witness", "")
        if not await self._works_here(witness, request):
            raise NotVerified(NO_WITNESS)
        document, content = await self._scan(proof.get("document", ""), request, by)
        digest = sm3(content)
        await self._use_up(digest, request, unit)
        return Proof(
            "paper", f"Patient/{request.patient}", at, evidence=document, own=False, digest=digest, witness=witness
        )

    async def _works_here(self, witness: str, request: Request) -> bool:
        """Return whether the institution that asks keeps a Practitioner of this reference."""
        if not is_reference(witness, frozenset({"Practitioner"})):
            return False
        found = await self._desk.one(*_parts(witness))
        return found is not None and bool(found[0]["org"] == request.organization)

    async def _scan(self, reference: str, request: Request, by: Bringer) -> tuple[str, bytes]:
        """Return a scan's place, with its version, and its content. Raises NotVerified."""
        if is_reference(reference, frozenset({"DocumentReference", "Binary"})):
            found = await self._kept(reference, request, by)
            content = b"".join([part async for part in self._contents(found[1], request, by)]) if found else b""
            if found and content:
                return f"{reference}/_history/{found[0]['v']}", content
        raise NotVerified(NO_DOCUMENT)

    async def _kept(self, reference: str, request: Request, by: Bringer) -> tuple[Document, Json] | None:
        """Return a document if who brings it may read it, and the institution that asks keeps it, of this patient alone."""
        found = await by.read(*_parts(reference))
        if found is None or found[0]["org"] != request.organization or found[0].get("pr") != [request.patient]:
            return None
        return found

    async def _contents(self, resource: Json, request: Request, by: Bringer) -> Any:
        """Yield the parts of a scan: what stands in the document, and in the Binaries that it leads to."""
        for data, url in attachments(resource):
            if data:
                yield data
            elif named := _BINARY.fullmatch(url):
                found = await self._kept(f"Binary/{named[1]}", request, by)
                for part, _ in attachments(found[1]) if found else ():
                    yield part

    async def _use_up(self, digest: str, request: Request, unit: Unit) -> None:
        """Let a scan serve one request of an institution, which learns of no other's scans. Raises NotVerified."""
        name = self._box.name("evidence", f"{request.organization}|{digest}")
        if await self._used.find_one({"_id": name}) is not None:
            raise NotVerified(USED)
        unit.insert(EVIDENCE, {"_id": name, "consent": request.consent})


def attachments(resource: Json) -> Iterator[tuple[bytes, str]]:
    """Yield the data, or else the URL, of each attachment of a DocumentReference, or of a Binary."""
    if resource["resourceType"] == "Binary":
        yield _decoded(resource.get("data")), ""
        return
    for each in resource.get("content", ()):
        attachment = each.get("attachment", {})
        yield _decoded(attachment.get("data")), str(attachment.get("url", ""))


def sm3(content: bytes) -> str:
    """Return the SM3 digest (GB/T 32905-2016), hexadecimal.

    >>> sm3(b"abc")[:16]
    '66c7f0f462eeedd9'
    """
    made = hashes.Hash(hashes.SM3())
    made.update(content)
    return made.finalize().hex()


def _decoded(data: object) -> bytes:
    try:
        return base64.b64decode(data) if isinstance(data, str) else b""
    except binascii.Error:
        return b""


def _parts(reference: str) -> tuple[str, str]:
    type, _, id = reference.partition("/")
    return type, id
