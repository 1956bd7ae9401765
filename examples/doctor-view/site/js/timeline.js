// Several searches, each in pages and newest first, joined into one list that is newest first and never lies about what it
// leaves out. Nothing is shown that is older than what another search may still bring.
import { Problem, matches, nextOf } from "./fhir.js";
import { SEARCHES, kindOf, kindsOf, timeOf } from "./kinds.js";
import { begins } from "./reading.js";

const PAGE = 50; // resources of a type that are asked for at a time
const STEP = 20; // entries that "more" adds at least, if there are so many

/** One search and what of it is loaded. more: whether there are further pages. */
export class Stream {
  constructor(fhir, patient, search) {
    Object.assign(this, { fhir, patient, search, items: [], total: null, next: null, more: true, problem: null, _loading: null });
    this._known = new Set();
  }

  /** Load the next page, once for all who ask meanwhile. What goes wrong is kept in `problem`; the search then ends here. */
  load() {
    this._loading ??= this._page().finally(() => (this._loading = null));
    return this._loading;
  }

  async _page() {
    const { search, patient, fhir } = this;
    const fields = { [search.of]: `Patient/${patient}`, _sort: search.sort, _count: PAGE };
    try {
      const page = this.next ? await fhir.page(this.next) : await fhir.search(search.type, fields);
      this.total ??= page.total ?? null;
      this._take(matches(page));
      this.next = nextOf(page);
      this.more = this.next !== null;
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      Object.assign(this, { problem, more: false });
    }
  }

  _take(found) {
    for (const resource of found) {
      const id = `${resource.resourceType}/${resource.id}`;
      if (this._known.has(id) || resource.resourceType !== this.search.type) continue;
      this._known.add(id);
      const date = timeOf(resource, this.search);
      this.items.push({ id, resource, date, at: begins(date), kind: kindOf(resource, this.search) });
    }
  }

  /** The instant down to which this search is loaded. */
  get down() {
    if (!this.more) return -Infinity;
    return this.items.length ? this.items[this.items.length - 1].at : Infinity;
  }
}

/** Return what can be shown of streams: the items that no stream can still add a newer one before, newest first. */
export function merged(streams) {
  const down = Math.max(-Infinity, ...streams.map((each) => each.down));
  const items = streams.flatMap((each) => each.items).filter((each) => each.at >= down);
  return items.sort((one, other) => (one.at === other.at ? 0 : one.at > other.at ? -1 : 1));
}

/** Everything of a patient. */
export class Timeline {
  constructor(fhir, patient) {
    this.streams = SEARCHES.map((search) => new Stream(fhir, patient, search));
  }

  /** Return the streams that may hold entries of these kinds (a Set; empty: of all). */
  of(kinds) {
    return this.streams.filter((each) => !kinds.size || kindsOf(each.search).some((kind) => kinds.has(kind)));
  }

  /** Return the items of these kinds that can be shown. */
  items(kinds) {
    return merged(this.of(kinds)).filter((each) => !kinds.size || kinds.has(each.kind));
  }

  /** Return whether there is more of these kinds than can be shown now. */
  more(kinds) {
    return this.of(kinds).some((each) => each.more);
  }

  /** Load until there are some more to show, or no more at all. */
  async load(kinds) {
    const before = this.items(kinds).length;
    do {
      const open = this.of(kinds).filter((each) => each.more);
      const down = Math.max(...open.map((each) => each.down));
      await Promise.all(open.filter((each) => each.down === down || each.down === Infinity).map((each) => each.load()));
    } while (this.more(kinds) && this.items(kinds).length < before + STEP);
  }

  /** How many resources of these kinds are loaded, and how many the server says there are; null if it does not say. */
  counts(kinds) {
    const streams = this.of(kinds);
    const loaded = streams.reduce((sum, each) => sum + each.items.length, 0);
    const totals = streams.map((each) => (each.more ? each.total : each.items.length));
    return { loaded, total: totals.includes(null) ? null : totals.reduce((sum, each) => sum + each, 0) };
  }

  problems() {
    return this.streams.filter((each) => each.problem).map((each) => ({ type: each.search.type, problem: each.problem }));
  }
}
