// The user's name and the time over everything, on paper too: an element, because backgrounds are often not printed.
import { h, svg } from "./dom.js";
import { now } from "./reading.js";

const MINUTE = 60_000;

/** Cover the page with a name, from now on. Returns when the mark is in the page. */
export function mark(name) {
  const line = () => `${name} ${now()}`;
  const text = svg("text", { x: 0, y: 60, text: line() });
  const pattern = svg(
    "pattern",
    { id: "mark", width: 300, height: 170, patternUnits: "userSpaceOnUse", patternTransform: "rotate(-24)" },
    text,
  );
  const cover = svg("rect", { width: "100%", height: "100%", fill: "url(#mark)" });
  const layer = h("div", { class: "watermark", "aria-hidden": "true" }, svg("svg", {}, svg("defs", {}, pattern), cover));
  document.querySelector(".watermark")?.remove();
  document.body.append(layer);
  const clock = setInterval(() => {
    if (!layer.isConnected) clearInterval(clock);
    text.textContent = line();
  }, MINUTE);
}
