// The controls of sampling: one table, in the order of the page.

import { h } from "./dom.js";

const number = (name, low, high, step, value, optional = false) => ({
  name, low, high, step, value, optional,
  holds: (v) => (optional && v === null) || (typeof v === "number" && v >= low && v <= high && (step < 1 || Number.isInteger(v))),
});
const lines = (name) => ({
  name, lines: true, value: "", holds: (v) => typeof v === "string" && v.length <= 2000,
});

export const CONTROLS = [
  number("max_tokens", 1, 512, 1, 24),
  number("temperature", 0, 10, 0.05, 0.8),
  number("top_k", 1, 100_000, 1, 40, true),
  number("top_p", 0.001, 1, 0.001, null, true),
  number("min_p", 0, 1, 0.001, null, true),
  number("typical_p", 0.001, 1, 0.001, null, true),
  number("repetition_penalty", 0.01, 100, 0.01, 1),
  number("presence_penalty", -2, 2, 0.1, 0),
  number("frequency_penalty", -2, 2, 0.1, 0),
  number("no_repeat_ngram_size", 0, 512, 1, 0),
  number("seed", 0, 2 ** 31, 1, 1, true),
  lines("stop"),
  lines("bad_words"),
];
export const DEFAULTS = Object.fromEntries(CONTROLS.map(({ name, value }) => [name, value]));
const FIRST = 3; // the rest is folded away

/** Return the settings as fields of a request; what changes nothing is left out. */
export function requestFields(settings) {
  const fields = { max_tokens: settings.max_tokens, temperature: settings.temperature };
  const off = { repetition_penalty: 1, presence_penalty: 0, frequency_penalty: 0, no_repeat_ngram_size: 0 };
  for (const { name, lines: list } of CONTROLS.slice(2)) {
    const value = list ? settings[name].split("\n").filter(Boolean) : settings[name];
    if (value !== null && value !== off[name] && (!list || value.length)) fields[name] = value;
  }
  return fields;
}

/** Draw the controls; onChange(name, value) is called with values in bounds only. */
export function controls(settings, strings, onChange) {
  const rows = CONTROLS.map((control) => drawControl(control, settings[control.name], strings, onChange));
  return h("div", { class: "controls" }, rows.slice(0, FIRST),
    h("details", {}, h("summary", { text: strings.moreSettings }), rows.slice(FIRST)));
}

function drawControl(control, value, strings, onChange) {
  const { name, low, high, step, optional } = control;
  const hint = `hint-${name}`;
  const input = control.lines
    ? h("textarea", { rows: 2, spellcheck: "false" })
    : h("input", { type: "number", inputmode: "decimal", min: low, max: high, step: "any", placeholder: optional ? strings.off : null });
  input.name = name;
  input.value = value ?? "";
  input.setAttribute("aria-describedby", hint);
  const fault = h("span", { class: "fault", role: "status" });
  input.addEventListener("change", () => {
    let next = control.lines ? input.value : input.value === "" ? null : Number(input.value);
    if (next === null && !optional) next = control.value;
    const good = control.holds(next);
    fault.textContent = good ? "" : strings.between(low, high, step >= 1);
    input.setAttribute("aria-invalid", String(!good));
    if (good) onChange(name, next);
  });
  const range = step < 1 && !optional && name === "temperature" && slider(input, 0, 2, 0.05, strings);
  return h("div", { class: "control" },
    h("label", {}, h("span", { class: "name", text: strings.settings[name][0] }), input),
    range, h("p", { class: "hint", id: hint, text: strings.settings[name][1] }), fault);
}

function slider(input, low, high, step, strings) {
  const range = h("input", { type: "range", min: low, max: high, step, aria: { label: strings.settings[input.name][0] } });
  range.value = input.value;
  range.addEventListener("input", () => { input.value = range.value; input.dispatchEvent(new Event("change")); });
  input.addEventListener("change", () => { range.value = input.value; });
  return range;
}
