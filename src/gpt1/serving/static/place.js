// A place of a text: what stands there, and what else might.

import { bars } from "./bars.js";
import { h, visible } from "./dom.js";

/** Draw token {id, text, logprob, rank, alternatives}, the nth of a text; null: what `next` has after it. */
export function place(token, n, next, strings, onPick) {
  const candidates = token ? token.alternatives : next;
  const hint = !token ? strings.nextHint : n === 0 ? strings.firstHint
    : token.rank ? strings.placeHint(token.rank, Math.exp(token.logprob)) : strings.pending;
  const invited = onPick && candidates?.length && (token ? strings.branchHint : strings.addHint);
  return [
    h("h2", { class: token ? "quoted" : null, text: token ? visible(token.text) : strings.nextPlace }),
    h("p", { class: "hint", text: invited ? `${hint} ${invited}` : hint }),
    candidates?.length ? bars(candidates, strings, { chosen: token?.id, onPick }) : null,
  ];
}
