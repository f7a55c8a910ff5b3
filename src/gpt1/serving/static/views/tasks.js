// Tasks: an example typed in, drawn as the model reads it, and a fine-tuned model's answer.

import { fill, h, segmented } from "../dom.js";
import { TASKS } from "../state.js";
import { answer, transforms } from "../transforms.js";
import { lead } from "./ask.js";

/** A figure -> the kinds of task whose models read it. */
const KINDS = {
  classification: ["classification", "multi-label"], entailment: ["entailment"],
  similarity: ["similarity", "regression"], choice: ["choice"],
};

const MOST = 6; // a context and five answers

/** What /v1/classify takes for one example. */
const inputOf = (kind, texts) => (kind === "classification" ? texts[0] : texts);

export default function tasks(app) {
  const { state, strings } = app, own = state.tasks, { kind } = own;
  const texts = (own.texts[kind] ??= [...strings.examples[kind]]);
  const figure = h("div", {}), answers = h("div", { class: "answers" });
  const served = app.models.filter((model) => KINDS[kind].includes(model.task));

  async function draw() {
    fill(answers);
    await app.attempt(async () => {
      const tokens = [];
      for (const text of texts) tokens.push((await app.api.tokenize(state.model, text)).tokens);
      fill(figure, transforms(kind, tokens, strings));
    });
    app.save();
  }

  async function ask(model) {
    await draw();
    await app.attempt(async () => {
      const told = await app.api.classify(model.id, [inputOf(kind, texts)]);
      fill(answers, answer(told.data[0], strings.answer(model.id), strings));
    });
  }

  const fields = texts.map((text, n) => {
    const field = h("input", { type: "text", autocomplete: "off", spellcheck: "false", on: { input: () => { texts[n] = field.value; } } });
    field.value = text;
    return h("label", {}, h("span", { class: "name", text: strings.fields[kind][n] }), field);
  });
  const resize = (change) => () => { change(); app.redraw(); };
  const answerButtons = kind === "choice" && [
    texts.length < MOST && h("button", { type: "button", class: "quiet", text: strings.addAnswer, on: { click: resize(() => texts.push("")) } }),
    texts.length > 2 && h("button", { type: "button", class: "quiet", text: strings.dropAnswer, on: { click: resize(() => texts.pop()) } }),
  ];
  draw();
  return [
    lead(strings.tasksTitle, strings.tasksLead),
    segmented(strings.kind, TASKS.map((name) => [name, strings.kinds[name]]), kind, (value) => { own.kind = value; app.redraw(); }),
    h("p", { class: "told", text: strings.kindLead[kind] }),
    h("form", { class: "ask example", on: { submit: (event) => { event.preventDefault(); draw(); } } }, fields,
      h("div", { class: "actions" }, h("button", { class: "primary", text: strings.draw4 }), answerButtons, served.map((model) =>
        h("button", { type: "button", class: "quiet", text: strings.ask(model.id), on: { click: () => ask(model) } })))),
    figure, answers, !served.length && h("p", { class: "hint", text: strings.noTaskModel }),
  ];
}
