// The walk: fetches what its steps show, and goes from one to the next.

import { fill, h } from "../dom.js";
import { pick, STEPS, walkStep } from "../walk.js";
import { ask, lead } from "./ask.js";

const K = 10;

export default function walk(app) {
  const { state, strings } = app;
  const box = h("div", { class: "walk" });
  let data = null, word = null, drawn = null;

  async function load() {
    fill(box, h("p", { class: "soft", text: strings.working }));
    data = null;
    await app.attempt(async () => {
      const model = state.model, tokenized = await app.api.tokenize(model, state.text);
      const ids = [...tokenized.tokens.map((token) => token.id), ...state.walk.chosen];
      const told = await app.api.explain(model, ids.length ? { ids } : { text: state.text }, { attention: [], lens: 0, alternatives: 1 });
      const { next, logits } = await app.api.nextTokens(model, ids, K, true);
      const { n_layer: blocks, n_embd: width } = app.model().config;
      data = { text: state.text, tokenized, tokens: told.positions, next, logits, blocks, width, added: state.walk.chosen.length > 0 };
      drawn = null;
    });
    draw();
  }

  async function drawOne(u) {
    const id = pick(data.logits, state.walk.temperature, u);
    const known = data.next.find((candidate) => candidate.id === id)
      ?? (await app.api.explain(state.model, { ids: [id] }, { attention: [], lens: 0, alternatives: 0 })).positions[0];
    drawn = { id, text: known.text, u };
    draw();
  }

  function go(step) {
    if (step < 0 || step >= STEPS.length) return;
    state.walk.step = step;
    draw();
    app.save();
    const now = box.querySelector("[aria-current=step]");
    now?.focus();
    now?.scrollIntoView({ block: "nearest", inline: "center" });
  }

  function restart(chosen, step) {
    Object.assign(state.walk, { chosen, step });
    app.save();
    return load();
  }

  function draw() {
    if (!data) return void fill(box);
    const { step, temperature } = state.walk;
    const focused = box.contains(document.activeElement) ? document.activeElement : null;
    const again = focused?.id || focused?.textContent;
    const numbers = h("ol", { class: "steps", aria: { label: strings.views.walk } }, strings.steps.map((name, n) => h("li", {},
      h("button", { type: "button", data: { step: n }, aria: { current: n === step ? "step" : null }, on: { click: () => go(n) } },
        h("span", { class: "n", text: String(n + 1) }), " ", h("span", { class: "label", text: name })))));
    const options = {
      temperature, word, drawn,
      onTemperature: (value) => { state.walk.temperature = value; drawn = null; draw(); app.save(); },
      onWord: (n) => { word = n; draw(); },
      onTake: (candidate) => { drawn = candidate; draw(); },
      onDraw: (u) => app.attempt(() => drawOne(u)),
      onAdd: () => restart([...state.walk.chosen, drawn.id], 5),
      onRestart: () => restart([], 0),
    };
    fill(box, numbers, walkStep(step, data, strings, options),
      h("div", { class: "actions onward" },
        h("button", { type: "button", class: "quiet back", text: `← ${strings.back}`, disabled: step === 0, on: { click: () => go(step - 1) } }),
        h("button", { type: "button", class: "primary next", text: `${strings.next} →`, disabled: step === STEPS.length - 1, on: { click: () => go(step + 1) } })));
    if (!focused) return;
    const same = [...box.querySelectorAll("button, input")].find((node) => (node.id || node.textContent) === again);
    same?.focus();
  }

  box.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by || event.target.matches("input")) return;
    event.preventDefault();
    go(state.walk.step + by);
  });
  load();
  return [lead(strings.walkTitle, strings.walkLead), ask(app, strings.show, () => restart([], 0)), box];
}
