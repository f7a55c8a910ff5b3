// Attention: all heads of a layer at a glance, one head as a map, one token on the text.

import { h, roving, visible } from "./dom.js";
import { shade, tokenRun } from "./tokens.js";

const TEAL = [42, 148, 140]; // reads on light and on dark
const ROOMY = 12; // so many tokens leave room for numbers
const DENSE = 20; // more of them need smaller cells

/** Draw each head of a layer as a small picture; weights: [head][from][to]. */
export function heads(weights, layer, selected, strings, onPick) {
  return h("div", { class: "heads", role: "group", aria: { label: strings.heads } }, weights.map((map, head) => h("button", {
    type: "button", data: { head }, aria: { label: strings.headLabel(layer + 1, head + 1), pressed: String(head === selected) },
    on: { click: () => onPick(head) },
  }, picture(map), h("span", { text: String(head + 1), aria: { hidden: "true" } }))));
}

function picture(map) {
  const canvas = h("canvas", { width: map.length, height: map.length, aria: { hidden: "true" } });
  const context = canvas.getContext("2d"), image = context.createImageData(map.length, map.length);
  map.flat().forEach((weight, n) => image.data.set([...TEAL, 255 * shade(weight)], 4 * n));
  context.putImageData(image, 0, 0);
  return canvas;
}

/** Draw one head: a row for each token, with the tokens it attends to; focus: the row that is marked. */
export function attentionMap(tokens, map, focus, strings, { layer, head, onFocus, onHover }) {
  const names = tokens.map((token) => visible(token.text));
  const roomy = tokens.length <= ROOMY;
  const rows = map.map((weights, from) => {
    const name = h("button", { type: "button", text: names[from], data: { from }, aria: { pressed: String(from === focus) }, on: { click: () => onFocus(from) } });
    const cells = weights.map((weight, to) => (to > from ? h("td", { class: "future" }) : h("td", {
      data: { from, to, weight }, vars: { shade: shade(weight) }, on: { mouseenter: () => onHover?.(strings.weight(names[from], names[to], weight)) },
    }, h("span", { class: roomy ? null : "hidden", text: roomy ? strings.short(weight) : strings.decimal(weight) }))));
    return h("tr", { class: from === focus ? "focus" : null }, h("th", { scope: "row" }, name), cells);
  });
  const top = h("tr", {}, h("td", {}), names.map((text) => h("th", { scope: "col" }, h("span", { text }))));
  const table = h("table", { class: roomy ? "map roomy" : tokens.length > DENSE ? "map dense" : "map" }, h("caption", { class: "hidden", text: strings.attentionTable(layer + 1, head + 1) }),
    h("thead", {}, top), h("tbody", {}, rows));
  roveRows([...table.querySelectorAll("th button")], focus);
  return h("div", { class: "scroll", tabindex: "0", role: "region", aria: { label: strings.attentionTable(layer + 1, head + 1) } }, table);
}

function roveRows(buttons, focus) {
  roving(buttons, focus);
  buttons.forEach((button, n) => button.addEventListener("keydown", (event) => {
    const to = buttons[n + ({ ArrowDown: 1, ArrowUp: -1 }[event.key] ?? NaN)];
    if (to) { event.preventDefault(); to.focus(); to.click(); }
  }));
}

/** Draw the text with each token shaded by how much the token `focus` attends to it. */
export function looks(tokens, map, focus, strings, onSelect) {
  const shaded = tokens.map(({ id, text }, n) => ({ id, text, weight: n <= focus ? map[focus][n] : undefined }));
  return tokenRun(shaded, strings, { selected: focus, onSelect });
}
