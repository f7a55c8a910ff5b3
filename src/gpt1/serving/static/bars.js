// Candidates for one place, the likeliest first, each with a bar.

import { h, visible } from "./dom.js";

/**
 * Draw candidates {id, text, probability, logit}. `chosen` is the id that stands in the text; with
 * onPick each row is a button. `value`, `show`: what a bar's length is, and the number beside it.
 */
export function bars(candidates, strings, { chosen, onPick, value, show, label } = {}) {
  value ??= (candidate) => candidate.probability;
  show ??= (candidate) => strings.percent(candidate.probability);
  const highest = Math.max(...candidates.map(value), 1e-30);
  const rows = candidates.map((candidate) => {
    const parts = [
      h("span", { class: candidate.text.endsWith(" ") ? "text" : "text fragment", text: visible(candidate.text) }),
      h("span", { class: "bar", vars: { w: Math.max(0, value(candidate) / highest) } }),
      h("span", { class: "number", text: show(candidate) }),
    ];
    const data = { id: candidate.id, p: candidate.probability, logit: candidate.logit };
    const here = candidate.id === chosen;
    const row = onPick
      ? h("button", { type: "button", class: "row", data, aria: { current: here ? "true" : null }, on: { click: () => onPick(candidate) } }, parts)
      : h("div", { class: here ? "row here" : "row", data }, parts);
    return h("li", {}, row);
  });
  const list = h("ol", { class: "bars", aria: { label: label ?? strings.alternatives } }, rows);
  list.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const buttons = [...list.querySelectorAll("button")];
    const to = buttons[buttons.indexOf(document.activeElement) + step];
    if (to) { event.preventDefault(); to.focus(); }
  });
  return list;
}
