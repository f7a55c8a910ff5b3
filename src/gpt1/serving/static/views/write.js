// Write: a prompt, its continuation as it is written, alternatives, branches.

import { fill, h } from "../dom.js";
import { controls, requestFields } from "../settings.js";
import { place } from "../place.js";
import { scale, tokenRun } from "../tokens.js";
import { branches, childrenOf, endOf, grow, leaves, pathTo } from "../tree.js";

const K = 10;

export default function write(app) {
  const { state, strings } = app;
  const known = (app.cache[`nodes ${state.model}`] ??= []); // what is known of each node of the tree
  if (!state.tree.length) known.length = 0;
  const following = (app.cache[`next ${state.model}`] ??= new Map()); // end of a path -> candidates
  let selected = null, hovered = null, writing = null;

  const prompt = h("textarea", { id: "prompt", rows: 2, spellcheck: "false", on: { input: () => { state.text = prompt.value; } } });
  prompt.value = state.text;
  const run = h("div", { class: "paper" });
  const panel = h("section", { class: "panel", aria: { label: strings.alternatives } });
  const branchBox = h("section", { class: "history" });
  const start = h("button", { class: "primary", text: strings.write });
  const more = h("button", { type: "button", class: "quiet", text: strings.goOn, on: { click: () => go(() => continueFrom(state.at)) } });
  const halt = h("button", { type: "button", class: "quiet", text: strings.stop, on: { click: () => writing?.abort() } });
  const clear = h("button", { type: "button", class: "quiet", text: strings.clear, on: { click: clearAll } });

  const path = () => pathTo(state.tree, state.at);
  const ids = (nodes) => nodes.map((node) => state.tree[node][1]);

  function draw() {
    const nodes = path(), children = childrenOf(state.tree);
    const tokens = nodes.map((node) => ({
      id: state.tree[node][1], text: "…", ...known[node], given: state.tree[node][2] === 1,
      split: (children.get(state.tree[node][0]) ?? []).length > 1,
    }));
    const focused = run.contains(document.activeElement) ? document.activeElement.dataset.index : null;
    selected = Math.min(selected ?? tokens.length, tokens.length);
    const options = {
      selected, after: writing || !tokens.length ? null : strings.nextPlace,
      onSelect: (n) => { selected = n; hovered = null; draw(); },
      onHover: (n) => { hovered = n; drawPanel(); },
    };
    fill(run, tokens.length ? tokenRun(tokens, strings, options) : h("p", { class: "soft", text: strings.empty }));
    if (focused != null) run.querySelector(`[data-index="${Number(focused)}"]`)?.focus();
    run.toggleAttribute("aria-busy", Boolean(writing));
    more.hidden = clear.hidden = Boolean(writing) || !tokens.length;
    halt.hidden = !writing;
    drawPanel();
    fill(branchBox, leaves(state.tree).length > 1 && [
      h("h2", { text: strings.branches }), h("p", { class: "hint", text: strings.branchesHint }),
      branches(state.tree, known, state.at, strings, (node) => go(() => show(node))),
    ]);
  }

  function drawPanel() {
    const nodes = path(), n = hovered ?? selected, node = nodes[n];
    if (!nodes.length) return void fill(panel);
    const token = node === undefined ? null : { id: state.tree[node][1], text: "…", ...known[node] };
    const parent = node === undefined ? state.at : state.tree[node][0];
    const onPick = writing ? null : (candidate) => go(() => branch(parent, candidate));
    fill(panel, place(token, n, following.get(state.at), strings, onPick));
  }

  /** Learn the probabilities and alternatives of the path's tokens and of what follows it. */
  async function learn() {
    const nodes = path(), at = state.at;
    if (!nodes.length) return;
    const sequence = ids(nodes);
    const told = await app.api.explain(state.model, { ids: sequence }, { attention: [], lens: 0, alternatives: K });
    told.positions.forEach((position, n) => {
      const { text, logprob, rank, alternatives } = position;
      known[nodes[n]] = { text, logprob, rank, alternatives };
    });
    following.set(at, told.next);
  }

  async function show(node) {
    state.at = node;
    selected = hovered = null;
    await learn();
  }

  async function branch(parent, candidate) {
    const before = state.tree.length, node = grow(state.tree, parent, candidate.id);
    if (node < before) return pathTo(state.tree, state.at).includes(node) || show(endOf(state.tree, node));
    known[node] = { text: candidate.text, logprob: Math.log(candidate.probability) };
    return continueFrom(node);
  }

  async function fromPrompt() {
    const told = await app.api.explain(state.model, { text: prompt.value }, { attention: [], lens: 0, alternatives: K });
    let node = -1;
    told.ids.forEach((id, n) => {
      node = grow(state.tree, node, id, 1);
      const { text, logprob, rank, alternatives } = told.positions[n];
      known[node] = { text, logprob, rank, alternatives };
    });
    await continueFrom(node);
  }

  async function continueFrom(node) {
    state.at = node;
    selected = hovered = null;
    const mine = new AbortController();
    let left = false;
    writing = mine;
    app.stop = () => { left = true; mine.abort(); };
    draw();
    let told = "", spoken = Date.now();
    const body = { model: state.model, prompt: ids(path()), logprobs: 0, ...requestFields(state.settings) };
    try {
      await app.api.complete(body, (choice) => {
        choice.logprobs.token_ids.forEach((id, n) => {
          state.at = grow(state.tree, state.at, id);
          known[state.at] ??= { text: choice.logprobs.tokens[n], logprob: choice.logprobs.token_logprobs[n] };
        });
        told += choice.text;
        if (Date.now() - spoken > 2000 && told.trim()) { // a screen reader gets stretches, not tokens
          app.say(told);
          told = "";
          spoken = Date.now();
        }
        selected = null;
        draw();
      }, mine.signal);
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    } finally {
      if (writing === mine) writing = null;
    }
    if (left || writing) return; // something else has begun
    app.say(`${told} ${strings.done}`);
    await learn();
  }

  /** Do one thing at a time, and draw what came of it, whether it went well or not. */
  async function go(work) {
    writing?.abort();
    writing = null;
    await app.attempt(work);
    draw();
    app.save();
  }

  function clearAll() {
    Object.assign(state, { tree: [], at: -1 });
    known.length = 0;
    following.clear();
    draw();
    app.save();
    prompt.focus();
  }

  async function restore() {
    const end = state.at;
    for (const leaf of leaves(state.tree)) {
      state.at = leaf;
      if (pathTo(state.tree, leaf).some((node) => known[node]?.rank === undefined)) await learn();
    }
    state.at = end;
    await learn();
  }

  const form = h("form", { class: "ask", on: { submit: (event) => { event.preventDefault(); go(fromPrompt); } } },
    h("label", { for: "prompt", class: "name", text: strings.prompt }), prompt,
    h("div", { class: "actions" }, start, more, halt, clear));
  prompt.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  run.addEventListener("mouseleave", () => { hovered = null; drawPanel(); });
  draw();
  if (state.tree.length) app.attempt(restore).then(draw);

  return [
    h("div", { class: "lead" }, h("h1", { text: strings.writeTitle }), h("p", { text: strings.writeLead })),
    h("div", { class: "desk" },
      h("div", { class: "column-of" }, h("div", { class: "wide" }, form, scale(strings), run), branchBox),
      h("div", { class: "column-of" }, panel,
        h("section", { class: "panel settings" }, h("h2", { text: strings.settingsTitle }),
          controls(state.settings, strings, (name, value) => { state.settings[name] = value; app.save(); })))),
  ];
}
