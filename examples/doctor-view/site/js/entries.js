// What the timeline shows of each resource: {title, lines, status, void}. One small function for each type.
import { concept, display, narrative, attachedText, period, shown } from "./reading.js";

// Statuses that go without saying.
const USUAL = new Set(["finished", "final", "completed", "current", "confirmed", "active"]);
const SAID_ANYHOW = new Set(["MedicationRequest", "Condition"]);

/** Return what to show of a resource. A line is [label, text]; texts of records are never markup. say: words. */
export function entryOf(resource, say) {
  const { title, lines } = (READERS[resource.resourceType] ?? plain)(resource, say);
  const states = statesOf(resource);
  return {
    title: title || say(`type.${resource.resourceType}`),
    lines: lines.filter(([, text]) => text),
    status: [...states.filter((code) => !USUAL.has(code) || SAID_ANYHOW.has(resource.resourceType)).filter((code) => code !== "confirmed"), ...hidden(resource)].map((code) => say(`status.${code}`)),
    void: states.includes("entered-in-error"),
  };
}

/** A record of which a part is withheld is labelled so (v3 ObservationValue, REDACTED). */
function hidden({ meta }) {
  return (meta?.security ?? []).some(({ code }) => code === "REDACTED") ? ["redacted"] : [];
}

function statesOf(resource) {
  const { status, clinicalStatus, verificationStatus } = resource;
  const coded = [clinicalStatus, verificationStatus].map((each) => each?.coding?.[0]?.code);
  return [status, ...coded].filter(Boolean);
}

const READERS = {
  Encounter: (it, say) => ({
    title: [say(`class.${it.class?.code ?? ""}`), ...(it.type ?? []).map(concept)].filter(Boolean).join(" · "),
    lines: [
      [say("date"), period(it.period)],
      [say("reason"), all(it.reasonCode)],
      [say("department"), display(it.serviceProvider)],
      [say("doctor"), named((it.participant ?? []).map((each) => each.individual))],
    ],
  }),
  Condition: (it, say) => ({
    title: concept(it.code),
    lines: [
      [say("onset"), shown(it.onsetDateTime) || it.onsetString],
      [say("doctor"), display(it.asserter) || display(it.recorder)],
      [say("note"), notes(it)],
    ],
  }),
  DiagnosticReport: (it, say) => ({
    title: concept(it.code),
    lines: [
      [say("conclusion"), it.conclusion || all(it.conclusionCode)],
      [say("item"), named(it.result)],
      [say("author"), named([...(it.resultsInterpreter ?? []), ...(it.performer ?? [])])],
      ...(it.presentedForm ?? []).map((each) => attached(each, say)),
    ],
  }),
  Composition: (it, say) => ({
    title: it.title || concept(it.type),
    lines: [
      [say("author"), named(it.author)],
      ...(it.section ?? []).map((each) => [each.title || concept(each.code), narrative(each.text) || named(each.entry)]),
    ],
  }),
  DocumentReference: (it, say) => ({
    title: concept(it.type) || it.description,
    lines: [
      [say("author"), named(it.author)],
      ...(it.content ?? []).map((each) => attached(each.attachment, say)),
    ],
  }),
  MedicationRequest: (it, say) => ({
    title: concept(it.medicationCodeableConcept) || medication(it),
    lines: [
      ["", (it.dosageInstruction ?? []).map((each) => each.text).filter(Boolean).join("；")],
      [say("reason"), all(it.reasonCode)],
      [say("doctor"), display(it.requester)],
      [say("note"), notes(it)],
    ],
  }),
  Procedure: (it, say) => ({
    title: concept(it.code),
    lines: [
      [say("date"), period(it.performedPeriod)],
      [say("reason"), all(it.reasonCode)],
      [say("outcome"), concept(it.outcome)],
      [say("reaction"), all(it.complication)],
      [say("doctor"), named((it.performer ?? []).map((each) => each.actor))],
      [say("note"), notes(it)],
    ],
  }),
  Immunization: (it, say) => ({
    title: concept(it.vaccineCode),
    lines: [
      ["", doses(it, say)],
      [say("lot"), it.lotNumber],
      [say("doctor"), named((it.performer ?? []).map((each) => each.actor))],
    ],
  }),
  AllergyIntolerance: (it, say) => ({
    title: concept(it.code),
    lines: [
      ["", it.criticality ? say(`status.${it.criticality}`) : ""],
      [say("reaction"), (it.reaction ?? []).map((each) => all(each.manifestation)).filter(Boolean).join("；")],
      [say("note"), notes(it)],
    ],
  }),
};

function plain(resource) {
  return { title: concept(resource.code), lines: [] };
}

function all(concepts) {
  return (concepts ?? []).map(concept).filter(Boolean).join("；");
}

function named(references) {
  return (references ?? []).map(display).filter(Boolean).join("、");
}

function notes({ note }) {
  return (note ?? []).map((each) => each.text).join("；");
}

function medication({ medicationReference, contained }) {
  const inside = (contained ?? []).find((each) => `#${each.id}` === medicationReference?.reference);
  return concept(inside?.code) || display(medicationReference);
}

function doses({ protocolApplied }, say) {
  const said = (protocolApplied ?? []).map((each) => each.doseNumberPositiveInt ?? each.doseNumberString);
  return said.filter(Boolean).map((count) => say("dose", { count })).join("；");
}

function attached(attachment, say) {
  const text = attachedText(attachment);
  if (text !== null) return [attachment.title ?? "", text];
  return [attachment?.title ?? "", attachment ? say("attachment", { type: attachment.contentType ?? "?" }) : ""];
}
