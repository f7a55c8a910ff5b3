// The article's walk: what happens between a text and its next token, drawn step by step.

import { bars } from "./bars.js";
import { h, visible } from "./dom.js";
import { readable } from "./tokens.js";

export const STEPS = ["text", "words", "merges", "ids", "embeddings", "logits", "softmax", "choice"];
const SHOWN = 10;
const END = "</w>";

/** Return the probabilities of `logits` at a temperature, in double precision. */
export function softmax(logits, temperature) {
  const highest = logits.reduce((a, b) => Math.max(a, b), -Infinity);
  const weights = logits.map((logit) => Math.exp((logit - highest) / temperature));
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / sum);
}

/** Return what merging begins with: the characters of a word's tokens, the last with its end mark. */
function symbols(word) {
  return word.tokens.flatMap((token) => {
    const own = token.replace(END, ""), pieces = own === "<unk>" ? [own] : [...own];
    return own === token ? pieces : [...pieces.slice(0, -1), pieces.at(-1) + END];
  });
}

const plain = (word) => word.tokens.join("").replaceAll(END, "");

/** Return the stages of a word from characters to tokens: [[pieces, index of the merged one, rank]]. */
export function stages(word) {
  const found = [[symbols(word), -1, null]];
  for (const [left, right, rank] of word.merges) {
    const pieces = found.at(-1)[0];
    const at = pieces.findIndex((piece, n) => piece === left && pieces[n + 1] === right);
    found.push([pieces.toSpliced(at, 2, left + right), at, rank]);
  }
  return found;
}

/**
 * Draw step n. data: {text, tokenized, tokens, next, logits, width, blocks}; logits has the whole
 * vocabulary, next the likeliest of it, whose texts are known. options: {temperature, onTemperature, word, onWord, drawn, onTake, onDraw, onAdd, onRestart}.
 */
export function walkStep(n, data, strings, options) {
  const name = STEPS[n], told = strings.walk[name];
  const lead = name === "embeddings" ? told(data.width) : name === "logits" ? told(data.blocks, data.logits.length) : told;
  return h("section", { class: `step ${name}`, aria: { label: strings.steps[n] } },
    h("h2", { class: "quoted", text: strings.steps[n] }), h("p", { class: "told", text: lead }),
    n > 4 && h("p", { class: "sofar" }, h("span", { class: "hint", text: `${strings.nextFor}: ` }), readable(data.tokens)),
    DRAW[name](data, strings, options));
}

const boxes = (items, name = "boxes") => h("div", { class: name }, items.map((item) => h("span", { class: "box", text: visible(item) })));

const DRAW = {
  text: (data) => boxes([...data.text], "boxes characters"),
  words: (data) => boxes(data.tokenized.words.map(plain)),
  merges,
  ids: (data) => tokenBoxes(data.tokens),
  embeddings,
  logits: (data, strings) => {
    const low = data.logits.reduce((a, b) => Math.min(a, b));
    return bars(data.next.slice(0, SHOWN), strings, { value: (c) => c.logit - low, show: (c) => strings.decimal(c.logit) });
  },
  softmax: softmaxStep,
  choice,
};

function piece(text, merged) {
  const own = text.replace(END, " "), ends = own.endsWith(" ");
  return h("span", { class: ["box", ends && "ends", merged && "merged"].filter(Boolean).join(" "), text: visible(own) });
}

function merges(data, strings, { word, onWord }) {
  const words = data.tokenized.words.filter((each) => plain(each).trim());
  const longest = words.reduce((best, each, n) => (each.merges.length > words[best].merges.length ? n : best), 0);
  const shown = Math.min(word ?? longest, words.length - 1);
  if (!words.length) return null;
  const rows = stages(words[shown]).map(([pieces, merged, rank], n) => h("li", { data: { rank } },
    h("span", { class: "boxes" }, pieces.map((text, m) => piece(text, m === merged))),
    h("span", { class: "hint", text: n ? strings.rank(rank) : strings.mergeStart })));
  return h("div", {},
    h("div", { class: "choose", role: "group", aria: { label: strings.steps[1] } }, words.map((each, n) =>
      h("button", { type: "button", class: "quiet", text: plain(each), aria: { pressed: String(n === shown) }, on: { click: () => onWord(n) } }))),
    h("ol", { class: "ladder" }, rows),
    rows.length === 1 && h("p", { class: "hint", text: strings.noMerges }));
}

function tokenBoxes(tokens) {
  return h("div", { class: "boxes" }, tokens.map((token) => h("span", { class: "pair", data: { id: token.id } },
    piece(token.text), h("span", { class: "number", text: String(token.id) }))));
}

function embeddings(data, strings) {
  const head = h("tr", {}, ["", strings.tokenRow, strings.positionRow].map((text) => h("th", { scope: "col", text })));
  const rows = data.tokens.map((token, n) => h("tr", {},
    h("th", { scope: "row" }, piece(token.text)), h("td", { text: String(token.id) }), h("td", { text: `+ ${n}` })));
  return h("div", { class: "scroll", tabindex: "0", role: "region", aria: { label: strings.steps[4] } },
    h("table", { class: "rows" }, h("thead", {}, head), h("tbody", {}, rows)));
}

/** Return the likeliest tokens with their probabilities at a temperature, and those of all others. */
function candidatesAt(data, temperature) {
  const p = temperature === 1 ? null : softmax(data.logits, temperature);
  const shown = data.next.slice(0, SHOWN).map((c) => (p ? { ...c, probability: p[c.id] } : c));
  return { shown, rest: 1 - shown.reduce((sum, c) => sum + c.probability, 0) };
}

function softmaxStep(data, strings, { temperature, onTemperature }) {
  const { shown, rest } = candidatesAt(data, temperature);
  const slider = h("input", { type: "range", min: 0.1, max: 3, step: 0.05, id: "temperature" });
  slider.value = temperature;
  slider.addEventListener("input", () => onTemperature(Number(slider.value)));
  return h("div", {},
    h("div", { class: "temperature" }, h("label", { class: "name", for: "temperature", text: strings.settings.temperature[0] }), slider,
      h("output", { for: "temperature", text: strings.short(temperature) })),
    bars(shown, strings),
    h("p", { class: "rest" }, h("span", { text: strings.others }), h("span", { class: "number", data: { p: rest }, text: strings.percent(rest) })));
}

/** Return the id whose stretch of 0..1 holds u, the likeliest ids first. */
export function pick(logits, temperature, u) {
  const p = softmax(logits, temperature);
  const order = [...p.keys()].sort((a, b) => p[b] - p[a]);
  let sum = 0;
  return order.find((id) => { sum += p[id]; return u < sum; }) ?? order.at(-1);
}

function choice(data, strings, { temperature, drawn, onTake, onDraw, onAdd, onRestart }) {
  const { shown, rest } = candidatesAt(data, temperature);
  const parts = [...shown, { id: -1, text: "", probability: rest }].map((c) => h("span", {
    class: ["part", c.id < 0 && "others", c.id === drawn?.id && "here"].filter(Boolean).join(" "), data: { id: c.id, p: c.probability },
    vars: { w: c.probability }, title: `${c.id < 0 ? strings.others : visible(c.text)} ${strings.percent(c.probability)}`,
    text: c.probability > 0.05 ? (c.id < 0 ? strings.others : visible(c.text)) : "",
  }));
  const at = drawn?.u == null ? null : h("i", { class: "mark-u", vars: { u: drawn.u } });
  return h("div", {},
    h("div", { class: "strip", role: "img", aria: { label: shown.map((c) => `${visible(c.text)} ${strings.percent(c.probability)}`).join(", ") } }, parts, at),
    h("div", { class: "actions" },
      h("button", { type: "button", class: "quiet", text: strings.takeLikeliest, on: { click: () => onTake(shown[0]) } }),
      h("button", { type: "button", class: "quiet", text: strings.draw, on: { click: () => onDraw(Math.random()) } })),
    drawn && h("div", { class: "drawn", role: "status" },
      drawn.u != null && h("p", { class: "hint", text: strings.drawn(drawn.u) }),
      h("p", { class: "result", data: { id: drawn.id }, text: visible(drawn.text) }),
      h("button", { type: "button", class: "primary", text: strings.addIt(visible(drawn.text)), on: { click: onAdd } })),
    data.added && h("p", {}, h("button", { type: "button", class: "quiet", text: strings.startOver, on: { click: onRestart } })));
}
