// One series as a line chart of SVG: reference range as a band, own results as dots, those from elsewhere as diamonds.
import { h, svg, show } from "./dom.js";
import { dayOf } from "./reading.js";
import { ticks } from "./trends.js";

const HEIGHT = 220;
const ROOM = { left: 52, right: 14, top: 12, bottom: 28 };
const LABEL = 92; // pixels that a date needs on the axis
const REACH = 32; // pixels around a point within which a tap means it

/** Return a figure of a series. say: words. It draws itself anew when its width changes. */
export function chart(series, say) {
  const drawing = h("div", { class: "drawing" });
  const told = h("output", { class: "told", "aria-live": "polite" });
  const state = { chosen: series.points.length - 1, places: [] };
  const choose = (at) => {
    state.chosen = Math.max(0, Math.min(series.points.length - 1, at));
    told.textContent = pointText(series.points[state.chosen], say);
    drawing.querySelectorAll(".point").forEach((each, at) => each.classList.toggle("chosen", at === state.chosen));
  };
  const redraw = () => {
    const width = Math.max(240, Math.floor(drawing.clientWidth));
    show(drawing, drawn(series, width, state, say));
    choose(state.chosen);
  };
  const nearest = (event) => {
    const { left } = drawing.getBoundingClientRect();
    const away = state.places.map((x) => Math.abs(x - (event.clientX - left)));
    const at = away.indexOf(Math.min(...away));
    if (away[at] <= REACH || event.type === "click") choose(at);
  };
  drawing.addEventListener("pointermove", nearest);
  drawing.addEventListener("click", nearest);
  new ResizeObserver(redraw).observe(drawing);
  const step = (word, by) => h("button", { type: "button", class: "second", text: say(word), on: { click: () => choose(state.chosen + by) } });
  choose(state.chosen);
  return h(
    "figure",
    { class: "chart" },
    h("figcaption", { text: series.unit ? `${series.name}（${series.unit}）` : series.name }),
    drawing,
    h("p", { class: "stepping" }, step("earlier", -1), told, step("later", 1)),
    legend(series, say),
    table(series, say),
  );
}

export function pointText({ date, text, source, range }, say) {
  const usual = range ? `，${say("usual")} ${range}` : "";
  return `${dayOf(date)}  ${text}${usual}，${source.name || say("sourceUnknown")}`;
}

function drawn(series, width, state, say) {
  const { points } = series;
  const scale = scaled(points, width);
  state.places = points.map(({ at }) => scale.x(at));
  const label = `${series.name}：${say("chartLabel", { count: points.length })} ${pointText(points[points.length - 1], say)}`;
  return svg(
    "svg",
    { role: "img", "aria-label": label, width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}` },
    band(points, scale),
    scale.marks.map((value) => ruled(value, scale)),
    dates(points, scale),
    svg("polyline", { class: "line", points: points.map(({ at, value }) => `${scale.x(at)},${scale.y(value)}`).join(" ") }),
    points.map((point) => dot(point, scale)),
  );
}

function scaled(points, width) {
  const usual = latestRange(points);
  const values = [...points.map(({ value }) => value), usual.low, usual.high].filter((each) => each !== null);
  const marks = ticks(Math.min(...values), Math.max(...values));
  const [least, greatest] = [marks[0], marks[marks.length - 1]];
  const [first, last] = [points[0].at, points[points.length - 1].at];
  const [inner, tall] = [width - ROOM.left - ROOM.right, HEIGHT - ROOM.top - ROOM.bottom];
  return {
    width,
    marks,
    usual,
    x: (at) => ROOM.left + (last === first ? inner / 2 : ((at - first) / (last - first)) * inner),
    y: (value) => ROOM.top + (1 - (value - least) / (greatest - least || 1)) * tall,
  };
}

/** Return the reference range of the newest point that has one: {low, high}, null where it is open. */
function latestRange(points) {
  return [...points].reverse().find(({ low, high }) => low !== null || high !== null) ?? { low: null, high: null };
}

function band(points, { usual: { low, high }, y, width }) {
  if (low === null && high === null) return null;
  const top = high === null ? ROOM.top : y(high);
  const bottom = low === null ? HEIGHT - ROOM.bottom : y(low);
  return svg("rect", { class: "usual", x: ROOM.left, y: top, width: width - ROOM.left - ROOM.right, height: bottom - top });
}

function ruled(value, { y, width }) {
  const at = y(value);
  return svg(
    "g",
    {},
    svg("line", { class: "rule", x1: ROOM.left, x2: width - ROOM.right, y1: at, y2: at }),
    svg("text", { class: "axis", x: ROOM.left - 6, y: at + 4, "text-anchor": "end", text: value }),
  );
}

/** Return the dates under the axis: of as many points as there is room for, the first and the last among them. */
function dates(points, { x, width }) {
  const placed = [];
  const free = (at) => placed.every((other) => Math.abs(other - at) >= LABEL);
  const order = [points[points.length - 1], points[0], ...points];
  return order.flatMap((point) => {
    const at = Math.min(Math.max(x(point.at), ROOM.left + 6), width - LABEL / 2 - 2);
    if (!free(at)) return [];
    placed.push(at);
    return [svg("text", { class: "axis", x: at, y: HEIGHT - 8, "text-anchor": "middle", text: dayOf(point.date) })];
  });
}

function dot(point, { x, y }) {
  const [at, up] = [x(point.at), y(point.value)];
  const outside = (point.low !== null && point.value < point.low) || (point.high !== null && point.value > point.high);
  const kind = `point${outside ? " outside" : ""}`;
  if (point.source.own !== false) return svg("circle", { class: kind, cx: at, cy: up, r: 4.5 });
  return svg("path", { class: `${kind} foreign`, d: `M${at} ${up - 6}l6 6l-6 6l-6-6z` });
}

function legend({ points }, say) {
  const row = (kind, word) => h("li", { class: kind, text: say(word) });
  const foreign = points.some(({ source }) => source.own === false);
  const usual = points.some(({ range }) => range);
  return h(
    "ul",
    { class: "legend" },
    foreign && [row("own", "legendOwn"), row("foreign", "legendForeign")],
    usual && [row("usual", "legendUsual"), row("outside", "legendOutside")],
  );
}

function table({ points, name }, say) {
  const heads = ["date", "value", "usual", "source"].map((word) => h("th", { scope: "col", text: say(word) }));
  const rows = [...points].reverse().map(({ date, text, range, source }) =>
    h(
      "tr",
      {},
      [dayOf(date), text, range, source.name || say("sourceUnknown")].map((each) => h("td", { text: each })),
    ),
  );
  const whole = h("table", {}, h("caption", { text: name }), h("thead", {}, h("tr", {}, heads)), h("tbody", {}, rows));
  return h("details", {}, h("summary", { text: say("asTable") }), h("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": name }, whole));
}
