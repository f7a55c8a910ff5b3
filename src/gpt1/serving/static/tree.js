// The tree of texts: nodes [parent, id, given], and how its branches are drawn.

import { h } from "./dom.js";
import { readable } from "./tokens.js";

/** Return the nodes from the start to `at`, as indices. */
export function pathTo(tree, at) {
  const path = [];
  for (let node = at; node >= 0; node = tree[node][0]) path.unshift(node);
  return path;
}

/** Return the node of `id` after `parent`, which is added to `tree` if it is new. */
export function grow(tree, parent, id, given = 0) {
  const found = tree.findIndex((node) => node[0] === parent && node[1] === id);
  return found >= 0 ? found : tree.push([parent, id, given]) - 1;
}

/** Return the children of each node; those of the start are under -1. */
export function childrenOf(tree) {
  const children = new Map();
  tree.forEach(([parent], node) => children.set(parent, [...(children.get(parent) ?? []), node]));
  return children;
}

/** Return the nodes without children. */
export function leaves(tree) {
  const children = childrenOf(tree);
  return tree.map((_, node) => node).filter((node) => !children.has(node));
}

/** Return the end of the longest text through `node`, along the newest branches. */
export function endOf(tree, node) {
  const children = childrenOf(tree);
  while (children.has(node)) node = children.get(node).at(-1);
  return node;
}

/** Draw the branches as nested lists; onGo(node) is called with the end of the one that is chosen. */
export function branches(tree, known, at, strings, onGo) {
  const children = childrenOf(tree);
  const current = new Set(pathTo(tree, at));
  const draw = (starts) => h("ul", {}, starts.map((start) => {
    const run = [start];
    while (children.get(run.at(-1))?.length === 1) run.push(children.get(run.at(-1))[0]);
    const end = run.at(-1), on = current.has(end) || (current.has(start) && run.includes(at));
    const button = h("button", {
      type: "button", class: "branch", data: { node: end }, aria: { current: on ? "true" : null },
      on: { click: () => onGo(endOf(tree, end)) },
    }, h("span", { class: "words", text: readable(run.map((node) => known[node] ?? { text: "…" })) }),
    measure(run, tree, known, strings));
    return h("li", { class: on ? "on" : null }, button, children.has(end) && draw(children.get(end)));
  }));
  return h("nav", { class: "branches", aria: { label: strings.branches } }, draw(children.get(-1) ?? []));
}

// A stretch's mean probability is the geometric mean: that of one token, were all alike.
function measure(run, tree, known, strings) {
  const written = run.filter((node) => !tree[node][2]);
  const logprobs = written.map((node) => known[node]?.logprob).filter((value) => value != null);
  if (!written.length) return h("span", { class: "measure", text: strings.given });
  if (logprobs.length < written.length) return h("span", { class: "measure", text: "…" });
  const mean = Math.exp(logprobs.reduce((sum, value) => sum + value, 0) / logprobs.length);
  return h("span", { class: "measure", data: { mean }, text: strings.stretch(written.length, mean) });
}
