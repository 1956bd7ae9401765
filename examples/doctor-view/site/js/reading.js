// How data types of FHIR R4 read: pure functions from JSON to text and numbers.

// All of China keeps one time; a record says the same on every machine.
const CLOCK = new Intl.DateTimeFormat("sv-SE", {
  timeZone: "Asia/Shanghai",
  year: "numeric",
  month: "2-digit",
  day: "2-digit",
  hour: "2-digit",
  minute: "2-digit",
});
const OFFSET = "+08:00";
const DAY = "2026-05-12".length;
const UNITS = { Cel: "°C", "mm[Hg]": "mmHg", "umol/L": "μmol/L", "/uL": "/μL", "/min": "/min", "1": "" };

/** Return the instant at which a FHIR date or dateTime begins, in milliseconds since 1970; -Infinity without one. */
export function begins(date) {
  if (typeof date !== "string") return -Infinity;
  const whole = /^\d{4}$/.test(date) ? `${date}-01-01` : /^\d{4}-\d{2}$/.test(date) ? `${date}-01` : date;
  const at = Date.parse(whole.includes("T") ? whole : `${whole}T00:00:00${OFFSET}`);
  return Number.isNaN(at) ? -Infinity : at;
}

/** Return a FHIR date as it is, a dateTime as the clock in China showed it: 2026-05-12 09:40. */
export function shown(date) {
  if (typeof date !== "string") return "";
  return date.includes("T") && begins(date) !== -Infinity ? CLOCK.format(begins(date)) : date;
}

/** Return the day of a FHIR date, as far as it says one. */
export function dayOf(date) {
  return shown(date).slice(0, DAY);
}

/** Return the clock in China now: 2026-05-12 09:40. */
export function now() {
  return CLOCK.format(new Date());
}

/** Return what a CodeableConcept says, in words if there are any. */
export function concept(coded) {
  const coding = coded?.coding ?? [];
  return coded?.text ?? coding.find((each) => each.display)?.display ?? coding.find((each) => each.code)?.code ?? "";
}

/** Return all texts and displays of a CodeableConcept, by which it can be recognized. */
export function wordsOf(coded) {
  return [coded?.text, ...(coded?.coding ?? []).map((each) => each.display)].filter(Boolean).join(" ");
}

/** Return the name of a code system and a code as one text: "http://loinc.org|4548-4". "" without a code. */
export function keyOf(coded) {
  const coding = (coded?.coding ?? []).find((each) => each.code);
  return coding ? `${coding.system ?? ""}|${coding.code}` : (coded?.text ?? "");
}

export function unitOf(quantity) {
  const unit = quantity?.unit ?? quantity?.code ?? "";
  return UNITS[unit] ?? unit;
}

/** Return a quantity as it was measured: "<36.50 °C". */
export function quantity(said) {
  if (said?.value === undefined) return "";
  return `${said.comparator ?? ""}${said.value} ${unitOf(said)}`.trim();
}

/** Return a reference range: "3.9–6.1 mmol/L", "≤ 5", or its own words. */
export function range(said) {
  const { low, high } = said ?? {};
  const unit = unitOf(low ?? high);
  if (low?.value !== undefined && high?.value !== undefined) return `${low.value}–${high.value} ${unit}`.trim();
  if (low?.value !== undefined) return `≥ ${low.value} ${unit}`.trim();
  if (high?.value !== undefined) return `≤ ${high.value} ${unit}`.trim();
  return said?.text ?? "";
}

/** Return what an Observation, or one of its components, found, as text. */
export function valueOf(observed) {
  if (observed.valueQuantity) return quantity(observed.valueQuantity);
  if (observed.valueCodeableConcept) return concept(observed.valueCodeableConcept);
  if (observed.valueRange) return range(observed.valueRange);
  if (observed.valueRatio) return `${quantity(observed.valueRatio.numerator)} : ${quantity(observed.valueRatio.denominator)}`;
  if (observed.valuePeriod) return period(observed.valuePeriod);
  for (const name of ["valueString", "valueInteger", "valueBoolean", "valueTime"])
    if (observed[name] !== undefined) return String(observed[name]);
  return shown(observed.valueDateTime) || concept(observed.dataAbsentReason);
}

export function period(said) {
  const [start, end] = [shown(said?.start), shown(said?.end)];
  if (!start || !end || start === end) return start || end;
  const sameDay = end.length > DAY && start.slice(0, DAY) === end.slice(0, DAY);
  return `${start} – ${sameDay ? end.slice(DAY + 1) : end}`;
}

/** Return what is said of a reference without following it. */
export function display(reference) {
  return reference?.display ?? "";
}

export function personName(names) {
  const name = (names ?? []).find((each) => each.use === "official") ?? names?.[0];
  return name?.text ?? `${name?.family ?? ""}${(name?.given ?? []).join("")}`;
}

/** Return the text of a narrative: XHTML without its tags. It is shown as text, whatever it holds. */
export function narrative(text) {
  const entities = { "&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'", "&nbsp;": " ", "&amp;": "&" };
  const bare = (text?.div ?? "").replace(/<[^>]*>/g, " ").replace(/&(?:lt|gt|quot|apos|nbsp|amp);/g, (each) => entities[each]);
  return bare.replace(/\s+/g, " ").trim();
}

/** Return the text of an attachment that is one, null otherwise. */
export function attachedText(attachment) {
  if (!attachment?.data || !/^text\/plain\b/.test(attachment.contentType ?? "")) return null;
  try {
    return new TextDecoder().decode(Uint8Array.from(atob(attachment.data), (each) => each.charCodeAt(0)));
  } catch {
    return null;
  }
}

/** Return bytes as base64. */
export function base64(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 32_768) text += String.fromCharCode(...bytes.subarray(at, at + 32_768));
  return btoa(text);
}
