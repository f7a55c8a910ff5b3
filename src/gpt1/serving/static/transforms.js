// The paper's input transformations (figure 1, right): rows of tokens around which nothing changes.

import { h, visible } from "./dom.js";

/** Return the sequences of a task as parts: a special token's name, or the number of a text. */
export function sequencesOf(kind, count) {
  if (kind === "classification") return [["start", 0, "extract"]];
  if (kind === "entailment") return [["start", 0, "delimiter", 1, "extract"]];
  if (kind === "similarity") return [["start", 0, "delimiter", 1, "extract"], ["start", 1, "delimiter", 0, "extract"]];
  return Array.from({ length: count - 1 }, (_, n) => ["start", 0, "delimiter", n + 1, "extract"]);
}

/** Draw the sequences of a task; texts: the tokens of each text, in the order of its fields. */
export function transforms(kind, texts, strings) {
  const rows = sequencesOf(kind, texts.length).map((parts, n) => {
    const row = h("div", { class: "sequence", role: "group", aria: { label: strings.sequence(n + 1) } }, parts.map((part) => (typeof part === "string"
      ? h("span", { class: "special", data: { special: part }, text: strings[part] })
      : h("span", { class: `given-text text-${part}`, data: { text: part } }, texts[part].map((token) =>
        h("span", { class: "box", data: { id: token.id }, text: visible(token.text) }))))));
    const after = [block(strings.transformer), kind !== "similarity" && block(strings.linear)].filter(Boolean);
    return h("div", { class: "flow" }, row, h("div", { class: "blocks" }, after));
  });
  const join = kind === "similarity" ? [h("span", { class: "sum", text: "+" }), block(strings.linear)] : kind === "choice" ? [block("Softmax")] : [];
  return h("div", { class: `figure ${kind}` }, h("div", { class: "flows" }, rows), join.length ? h("div", { class: "join" }, join) : null);
}

const block = (text) => h("span", { class: "block", text });

/** Draw an answer: {prediction, probabilities or scores}. */
export function answer(result, title, strings) {
  const values = Object.entries(result.probabilities ?? result.scores ?? {});
  const highest = Math.max(...values.map(([, value]) => Math.abs(value)), 1e-30);
  return h("section", { class: "panel answer" }, h("h2", { text: title }),
    h("p", { class: "result", text: String(result.prediction) }),
    h("ul", { class: "bars" }, values.map(([name, value]) => h("li", {}, h("div", { class: name === String(result.prediction) ? "row here" : "row", data: { name, p: value } },
      h("span", { class: "text", text: name }), h("span", { class: "bar", vars: { w: Math.abs(value) / highest } }),
      h("span", { class: "number", text: result.probabilities ? strings.percent(value) : strings.decimal(value) }))))));
}
