// The timeline as it is seen: filters, what is loaded and what is not, and a card for each entry.
import { h, show } from "./dom.js";
import { entryOf } from "./entries.js";
import { KINDS } from "./kinds.js";
import { alert, sentence } from "./problems.js";
import { concept, range, shown, valueOf } from "./reading.js";
import { measurements } from "./trends.js";

// Interpretations (v3 ObservationInterpretation) that need no attention: normal, negative, sensitive.
const HARMLESS = new Set(["N", "NEG", "S"]);

export class TimelineView {
  /** page: {timeline, sources, say, trend}: trend(name) opens the trend of an item. */
  constructor(element, page) {
    Object.assign(this, { element, page, kinds: new Set(), institution: "", busy: false, problem: null });
  }

  /** Load some, and show them. */
  async load() {
    if (this.busy) return;
    const pressed = document.activeElement?.id === "more";
    const { timeline, sources } = this.page;
    Object.assign(this, { busy: true, problem: null });
    this.draw();
    try {
      await timeline.load(this.kinds);
      await sources.place(timeline.streams.flatMap((each) => each.items));
    } catch (problem) {
      this.problem = problem;
    }
    this.busy = false;
    this.draw();
    if (pressed) this.element.querySelector("#more")?.focus({ preventScroll: true });
  }

  draw() {
    const { timeline, say } = this.page;
    const placed = timeline.items(this.kinds).filter((each) => each.source);
    const items = placed.filter((each) => !this.institution || each.source.id === this.institution);
    const more = timeline.more(this.kinds);
    show(
      this.element,
      h("h2", { text: say("timeline") }),
      this.filters(),
      this.missing(),
      this.problem && alert(this.problem, say, () => this.load()),
      this.counted(items.length, placed.length),
      !items.length && !this.busy && !more && h("p", { text: say("nothing") }),
      years(items, say).map(([year, of]) => h("section", {}, h("h3", { text: year }), h("ol", { class: "entries" }, grouped(of).map((each) => this.card(each))))),
      this.busy && h("p", { role: "status", text: say("loading") }),
      more && !this.busy && h("button", { type: "button", id: "more", text: say("more"), on: { click: () => this.load() } }),
    );
  }

  /** Say how many entries are shown, and of how many. */
  counted(count, placed) {
    const { timeline, say } = this.page;
    const { loaded, total } = timeline.counts(this.kinds);
    const held = timeline.of(this.kinds).flatMap((each) => each.items).filter((each) => !this.kinds.size || this.kinds.has(each.kind)).length - placed;
    const word = total === null ? "showingSome" : "showing";
    return h(
      "p",
      { id: "counted", class: "quiet", role: "status" },
      say(word, { shown: count, loaded, total }),
      held > 0 && !this.busy ? ` ${say("heldBack", { held })}` : "",
      this.institution ? ` ${say("notLoaded")}` : "",
    );
  }

  filters() {
    const { say, timeline } = this.page;
    const chip = (kind, word, on) =>
      h("button", { type: "button", class: "chip", "aria-pressed": String(on), "data-kind": kind, text: say(word), on: { click: () => this.choose(kind) } });
    const found = new Map(timeline.streams.flatMap((each) => each.items).filter((each) => each.source?.id).map((each) => [each.source.id, each.source]));
    const options = [...found.values()].map(({ id, name, own }) =>
      h("option", { value: id, text: own === null ? name : `${name}（${say(own ? "own" : "foreign")}）` }),
    );
    const select = h(
      "select",
      { id: "institution", on: { change: (event) => this.at(event.target.value) } },
      h("option", { value: "", text: say("allInstitutions") }),
      options,
    );
    select.value = this.institution;
    return h(
      "div",
      { class: "filters" },
      h("div", { class: "chips", role: "group", "aria-label": say("kinds") }, chip("", "allKinds", !this.kinds.size), KINDS.map((kind) => chip(kind, `kind.${kind}`, this.kinds.has(kind)))),
      h("label", { class: "inline" }, say("institutions"), " ", select),
    );
  }

  choose(kind) {
    if (!kind) this.kinds.clear();
    else if (!this.kinds.delete(kind)) this.kinds.add(kind);
    this.draw();
    this.element.querySelector(`[data-kind="${kind}"]`).focus();
  }

  at(institution) {
    this.institution = institution;
    this.draw();
    this.element.querySelector("#institution").focus();
  }

  /** Name the searches that failed: what they would have found is missing here. */
  missing() {
    const { timeline, say } = this.page;
    const problems = timeline.problems();
    if (!problems.length) return null;
    const rows = problems.map(({ type, problem }) => h("li", { text: `${say(`type.${type}`)}：${sentence(problem, say)}` }));
    return h("div", { class: "problem", role: "alert" }, h("p", { text: say("partMissing") }), h("ul", {}, rows));
  }

  card(group) {
    const { say } = this.page;
    const [{ kind, date, source }] = group;
    const results = kind === "result" && group.length > 1;
    const entries = group.map(({ resource }) => entryOf(resource, say));
    const title = results ? say("results", { count: group.length }) : kind === "result" ? concept(group[0].resource.code) : entries[0].title;
    return h(
      "li",
      { class: `entry ${kind}${source.own === false ? " foreign" : ""}`, "data-kind": kind },
      h("p", { class: "when" }, h("time", { datetime: date ?? "", text: shown(date) || say("undated") }), h("span", { class: "kind", text: say(`kind.${kind}`) }), badge(source, say)),
      h("h4", { class: entries[0].void && !results ? "void" : "", text: title }),
      kind === "result" ? this.table(group) : [states(entries[0]), lines(entries[0].lines)],
    );
  }

  table(group) {
    const { say, trend } = this.page;
    const rows = group.flatMap(({ resource }) => {
      const entry = entryOf(resource, say);
      return measurements(resource)
        .filter(({ said }) => valueOf(said) || !resource.component)
        .map(({ name, said }) => {
          const numeric = said.valueQuantity || said.valueInteger !== undefined;
          const open = { type: "button", class: "plain", "aria-label": say("trendOf", { name }), text: name, on: { click: () => trend(name) } };
          return h(
            "tr",
            { role: "row", class: entry.void ? "void" : "" },
            h("th", { role: "rowheader", scope: "row" }, numeric && !entry.void ? h("button", open) : name, states(entry)),
            h("td", { role: "cell", class: alarms(said) ? "alarm" : "", text: valueOf(said) }),
            h("td", { role: "cell", class: alarms(said) ? "alarm" : "", text: flags(said, say) }),
            h("td", { role: "cell", class: "quiet", text: (said.referenceRange ?? []).map(range).filter(Boolean).join("；") }),
          );
        });
    });
    const heads = ["item", "value", "flag", "usual"].map((word) => h("th", { role: "columnheader", scope: "col", text: say(word) }));
    // The roles stay where a narrow screen shows rows as lines.
    return h("table", { class: "results", role: "table", "aria-label": say("kind.result") }, h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, heads)), h("tbody", { role: "rowgroup" }, rows));
  }
}

function badge(source, say) {
  const name = source.name || say("sourceUnknown");
  const mark = source.own === null ? "" : `${say(source.own ? "own" : "foreign")} · `;
  return h("span", { class: `source ${source.own === false ? "foreign" : "own"}`, text: `${mark}${name}` });
}

function states({ status }) {
  return status.length ? h("span", { class: "status", text: status.join(" · ") }) : null;
}

function lines(found) {
  if (!found.length) return null;
  return h("dl", {}, found.map(([label, text]) => h("div", {}, h("dt", { text: label }), h("dd", { text }))));
}

function flags(said, say) {
  return interpreted(said).filter((code) => code !== "N").map((code) => say(`flag.${code}`)).join(" ");
}

function alarms(said) {
  return interpreted(said).some((code) => !HARMLESS.has(code));
}

function interpreted({ interpretation }) {
  return (interpretation ?? []).map((each) => each.coding?.[0]?.code ?? concept(each)).filter(Boolean);
}

/** Return items by the year in which they are: [year, items], in their order. */
function years(items, say) {
  const found = new Map();
  for (const item of items) {
    const year = shown(item.date).slice(0, 4) || say("undated");
    found.set(year, [...(found.get(year) ?? []), item]);
  }
  return [...found];
}

/** Return lists of items that make one card: results of one visit, or day, at one institution, and every other item alone. */
function grouped(items) {
  const [found, results] = [[], new Map()];
  for (const item of items) {
    const { resource, kind, source, date } = item;
    const key = `${source.id} ${resource.encounter?.reference ?? ""} ${shown(date).slice(0, 10)}`;
    if (kind === "result" && results.has(key)) results.get(key).push(item);
    else {
      found.push([item]);
      if (kind === "result") results.set(key, found[found.length - 1]);
    }
  }
  return found;
}
