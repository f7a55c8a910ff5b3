// Read: a text that is given, each token with what else might have stood there, and what comes next.

import { fill, h } from "../dom.js";
import { place } from "../place.js";
import { scale, tokenRun } from "../tokens.js";
import { lead } from "./ask.js";

export default function read(app) {
  const { state, strings } = app;
  const run = h("div", { class: "paper" });
  const panel = h("section", { class: "panel", aria: { label: strings.alternatives } });
  let tokens = [], next = [], selected = 0;

  const show = (n) => fill(panel, place(tokens[n] ?? null, n, next, strings));

  function draw() {
    const focused = run.contains(document.activeElement);
    fill(run, tokenRun(tokens, strings, {
      selected, after: strings.nextPlace, onHover: show,
      onSelect: (n) => { selected = n; draw(); },
    }));
    if (focused) run.querySelector(`[data-index="${selected}"]`)?.focus();
    show(selected);
  }

  app.attempt(async () => {
    ({ positions: tokens, next } = await app.api.explain(state.model, { text: state.text }));
    selected = tokens.length;
    draw();
  });
  run.addEventListener("mouseleave", () => show(selected));
  return [
    lead(strings.readTitle, strings.readLead),
    h("div", { class: "desk" },
      h("div", { class: "column-of" }, h("div", { class: "wide" }, scale(strings), run)),
      h("div", { class: "column-of" }, panel)),
  ];
}
