// Elements are made here and nowhere else. Whatever a record says becomes text, never markup.

const SVG = "http://www.w3.org/2000/svg";

/** Return an element. given: attributes by name; `text`, `on` (listeners by event) and `value` are not attributes. */
export function h(tag, given = {}, ...children) {
  return filled(document.createElement(tag), given, children);
}

/** Return an element of SVG, as h does. */
export function svg(tag, given = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), given, children);
}

function filled(element, { text, on = {}, value, ...attributes }, children) {
  for (const [name, said] of Object.entries(attributes)) {
    if (said === true) element.setAttribute(name, "");
    else if (said !== false && said !== null && said !== undefined) element.setAttribute(name, String(said));
  }
  for (const [event, heard] of Object.entries(on)) element.addEventListener(event, heard);
  if (text !== undefined && text !== null) element.textContent = String(text);
  element.append(...children.flat().filter((each) => each !== null && each !== undefined && each !== false));
  if (value !== undefined) element.value = value;
  return element;
}

/** Show these children in an element, in place of what is there. */
export function show(element, ...children) {
  element.replaceChildren(...children.flat().filter((each) => each !== null && each !== undefined && each !== false));
}
