// Compare: two models on the same text.

import { side } from "../compare.js";
import { fill, h, select } from "../dom.js";
import { requestFields } from "../settings.js";
import { scale } from "../tokens.js";
import { ask, lead } from "./ask.js";

export default function compare(app) {
  const { state, strings } = app;
  const columns = h("div", { class: "columns" });
  const names = app.models.map((model) => [model.id, model.id]);
  let running = null;

  async function load() {
    running?.abort();
    running = new AbortController();
    app.stop = () => running.abort();
    const { signal } = running, text = state.text;
    const boxes = [state.model, state.other].map(() => h("div", {}, h("p", { class: "soft", text: strings.working })));
    fill(columns, boxes);
    await Promise.all([state.model, state.other].map((model, n) => app.attempt(async () => {
      const told = await app.api.explain(model, { text }, { attention: [], lens: 0, alternatives: 8 });
      const data = { model, tokens: told.positions, next: told.next, written: "" };
      const draw = () => fill(boxes[n], side(data, strings));
      draw();
      await app.api.complete({ model, prompt: told.ids, ...requestFields(state.settings) }, (choice) => {
        data.written = (data.written + choice.text).trimStart();
        boxes[n].querySelector(".continuation").textContent = data.written;
      }, signal);
      app.say(`${model}: ${data.written}`);
    })));
    app.save();
  }

  const pick = (label, name) => select(label, names, state[name], (value) => { state[name] = value; load(); }, { name });
  if (names.length) load();
  return [
    lead(strings.compareTitle, strings.compareLead),
    ask(app, strings.compareButton, load),
    h("div", { class: "pick" }, pick(strings.second, "other")),
    names.length < 2 && h("p", { class: "hint", text: strings.oneModel }),
    scale(strings), columns,
  ];
}
