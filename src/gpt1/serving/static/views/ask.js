// The form at the head of a view: the reader's sentence and a button.

import { h } from "../dom.js";

/** Return the form; onAsk(text) is called when it is sent. */
export function ask(app, label, onAsk, ...extra) {
  const field = h("input", { type: "text", name: "text", autocomplete: "off", spellcheck: "false" });
  field.value = app.state.text;
  field.addEventListener("input", () => { app.state.text = field.value; });
  return h("form", { class: "ask line", on: { submit: (event) => { event.preventDefault(); onAsk(field.value); } } },
    h("label", {}, h("span", { class: "name", text: app.strings.prompt }), field),
    h("div", { class: "actions" }, h("button", { class: "primary", text: label }), extra));
}

/** Return the title of a view and what it is about. */
export const lead = (title, text) => h("div", { class: "lead" }, h("h1", { text: title }), h("p", { text }));
