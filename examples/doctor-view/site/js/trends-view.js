// The trends as they are seen: which measurements there are, one chart for each that is chosen.
import { chart } from "./chart.js";
import { h, show } from "./dom.js";
import { alert } from "./problems.js";
import { seriesOf } from "./trends.js";

const AT_ONCE = 4; // charts that are shown unasked
const ENOUGH = 200; // results that are loaded unasked
const RESULTS = new Set(["result"]);

export class TrendsView {
  /** page: {timeline, sources, say}. */
  constructor(element, page) {
    Object.assign(this, { element, page, chosen: null, busy: false, problem: null });
  }

  /** Show the trend of one item, by its name; null: those of the most often measured. */
  open(name) {
    this.chosen = name;
    this.draw();
  }

  /** Load results until there are so many more, or so many at all. */
  async load(more = 0) {
    if (this.busy) return;
    const { sources } = this.page;
    const wanted = Math.max(ENOUGH, more && this.stream.items.length + more);
    Object.assign(this, { busy: true, problem: null });
    this.draw();
    try {
      while (this.stream.more && this.stream.items.length < wanted) await this.stream.load();
      await sources.place(this.stream.items);
    } catch (problem) {
      this.problem = problem;
    }
    this.busy = false;
    this.draw();
  }

  get stream() {
    return this.page.timeline.of(RESULTS)[0];
  }

  draw() {
    const { say } = this.page;
    const { items, total, more } = this.stream;
    const all = seriesOf(items.filter((each) => each.source));
    const lasting = all.filter(({ points }) => points.length > 1);
    const shown = this.chosen ? all.filter(({ name }) => name === this.chosen) : lasting.slice(0, AT_ONCE);
    const counts = { loaded: items.length, total };
    show(
      this.element,
      h("h2", { text: say("trends") }),
      h("p", { class: "quiet", role: "status", text: say(total === null && more ? "trendCountOpen" : "trendCount", { ...counts, total: total ?? items.length }) }),
      all.length ? this.select(all) : !this.busy && h("p", { text: say("noTrends") }),
      this.problem && alert(this.problem, say, () => this.load()),
      this.busy && h("p", { role: "status", text: say("loading") }),
      h("div", { class: "charts" }, shown.map((series) => chart(series, say))),
      more && !this.busy && h("button", { type: "button", id: "more-results", text: say("moreResults"), on: { click: () => this.load(ENOUGH) } }),
    );
  }

  select(all) {
    const { say } = this.page;
    const names = [...new Set(all.map(({ name }) => name))];
    const options = names.map((name) => h("option", { value: name, text: name }));
    const select = h("select", { id: "measured", on: { change: (event) => this.open(event.target.value || null) } }, h("option", { value: "", text: say("oftenMeasured") }), options);
    select.value = names.includes(this.chosen) ? this.chosen : "";
    return h("label", { class: "inline" }, say("measured"), " ", select);
  }
}
