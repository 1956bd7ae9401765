// Series of measured values, from Observations: pure.
import { begins, concept, keyOf, range, unitOf, valueOf } from "./reading.js";

const VOID = new Set(["entered-in-error", "cancelled"]);

/** Return the series of these Observations, each {key, name, unit, points}, the longest first; points are oldest first.
 * A point is {at, date, value, text, low, high, range, source}. items: of the timeline, with their `source`. */
export function seriesOf(items) {
  const found = new Map();
  for (const item of items) {
    if (item.resource.resourceType !== "Observation" || VOID.has(item.resource.status)) continue;
    for (const measured of measurements(item.resource)) {
      const point = pointOf(measured, item);
      if (!point) continue;
      const key = `${measured.key} ${point.unit}`;
      if (!found.has(key)) found.set(key, { key, name: measured.name, unit: point.unit, points: [] });
      found.get(key).points.push(point);
    }
  }
  for (const series of found.values()) series.points.sort((one, other) => one.at - other.at);
  return [...found.values()].sort((one, other) => other.points.length - one.points.length);
}

/** Return what an Observation measured: itself, and its components. Each is {key, name, said}. */
export function measurements(observation) {
  const whole = { key: keyOf(observation.code), name: concept(observation.code), said: observation };
  const parts = (observation.component ?? []).map((said) => ({
    key: `${whole.key} ${keyOf(said.code)}`,
    name: `${whole.name} · ${concept(said.code)}`,
    said,
  }));
  return [whole, ...parts];
}

function pointOf({ said }, item) {
  const quantity = said.valueQuantity;
  const value = Number(quantity?.value ?? said.valueInteger ?? NaN);
  if (!Number.isFinite(value) || begins(item.date) === -Infinity) return null;
  const usual = said.referenceRange?.[0];
  return {
    at: item.at,
    date: item.date,
    value,
    text: valueOf(said),
    unit: quantity ? unitOf(quantity) : "",
    low: bound(usual?.low),
    high: bound(usual?.high),
    range: range(usual),
    source: item.source,
  };
}

function bound(quantity) {
  return quantity?.value === undefined ? null : Number(quantity.value);
}

/** Return round numbers from below the least to above the greatest value, for an axis. */
export function ticks(least, greatest, wanted = 5) {
  const span = greatest - least || Math.abs(greatest) || 1;
  const rough = span / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const digits = Math.max(0, -Math.floor(Math.log10(step)));
  const [from, to] = [Math.floor(least / step), Math.ceil(greatest / step)];
  return Array.from({ length: to - from + 1 }, (_, at) => Number(((from + at) * step).toFixed(digits)));
}
