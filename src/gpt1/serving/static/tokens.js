// A text as its tokens, each shaded by its probability.

import { h, roving, visible } from "./dom.js";

const CLOSE = /^([.,?!]|n't|'(m|s|ve|re))$/; // no blank before these, as the tokenizer writes them

/** Return how dark a probability is: its root, so that small ones still differ. */
export const shade = (p) => Math.sqrt(p);

/** Draw what the shades mean. */
export function scale(strings, label = strings.scale) {
  const chips = [0.001, 0.01, 0.1, 0.5, 1].map((p) =>
    h("span", { class: "chip", text: strings.percentShort(p), vars: { shade: shade(p) } }));
  return h("div", { class: "scale" }, h("span", { text: label }), chips);
}

/** Return whether a blank stands between two tokens; one at a token's end is the end of a word. */
export function spaced(before, after) {
  return after && before.text.endsWith(" ") && ![before, after].some(isBreak) && !CLOSE.test(visible(after.text));
}

const isBreak = (token) => token.text.trim() === "" && token.text.includes("\n");

/** Return tokens as one text. */
export function readable(tokens) {
  return tokens.map((token, n) => visible(token.text) + (spaced(token, tokens[n + 1]) ? " " : "")).join("");
}

/**
 * Draw tokens {id, text, logprob or weight, given, split}; those without either are not shaded.
 * `selected` may be tokens.length: the place after the last, which `after` names.
 */
export function tokenRun(tokens, strings, { selected, after, onSelect, onHover } = {}) {
  const items = tokens.map((token, n) => {
    const p = token.weight ?? (token.logprob == null ? null : Math.exp(token.logprob));
    const name = p === null ? visible(token.text) : strings.tokenLabel(visible(token.text), p);
    return h("button", {
      type: "button", text: visible(token.text),
      class: ["token", token.given && "given", p === null && "unshaded", token.split && "forked"].filter(Boolean).join(" "),
      data: { index: n, id: token.id, logprob: token.logprob, rank: token.rank, weight: token.weight }, vars: { shade: shade(p ?? 0) },
      aria: { label: name, pressed: String(n === selected) },
    });
  });
  if (after) {
    items.push(h("button", { type: "button", class: "token after", text: "+", data: { index: tokens.length },
      aria: { label: after, pressed: String(selected === tokens.length) } }));
  }
  items.forEach((item, n) => {
    item.addEventListener("click", () => onSelect?.(n));
    item.addEventListener("mouseenter", () => onHover?.(n));
  });
  roving(items, Math.max(0, Math.min(selected ?? 0, items.length - 1)), { onFocus: (n) => onHover?.(n) });
  const parts = items.flatMap((item, n) => [
    item,
    n >= tokens.length ? null : isBreak(tokens[n]) ? h("br") : n === tokens.length - 1 ? "\u00a0" : spaced(tokens[n], tokens[n + 1]) && " ",
  ]);
  return h("div", { class: "run", role: "group", aria: { label: strings.tokens } }, parts.filter(Boolean));
}
