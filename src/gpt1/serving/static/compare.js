// What a model makes of a text, in a column that stands beside another's.

import { bars } from "./bars.js";
import { h } from "./dom.js";
import { tokenRun } from "./tokens.js";

/** Draw one side: {model, tokens, next, written}; tokens have logprobs. */
export function side({ model, tokens, next, written }, strings) {
  const logprobs = tokens.map((token) => token.logprob).filter((value) => value != null);
  const perplexity = logprobs.length ? Math.exp(-logprobs.reduce((sum, value) => sum + value, 0) / logprobs.length) : null;
  return h("section", { class: "panel column", aria: { label: model } }, h("h2", { text: model }),
    perplexity !== null && h("p", { class: "figure-line" }, h("span", { class: "big", data: { perplexity }, text: strings.short(perplexity) }), " ",
      h("span", { class: "hint", text: `${strings.perplexity}: ${strings.perplexityHint}` })),
    h("div", { class: "small" }, tokenRun(tokens, strings)),
    h("h3", { text: strings.comesNext }), bars(next, strings),
    h("h3", { text: strings.continues }), h("p", { class: "continuation", text: written }));
}
