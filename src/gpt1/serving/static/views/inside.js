// Inside: attention and the logit lens of a text.

import { attentionMap, heads, looks } from "../attention.js";
import { bars } from "../bars.js";
import { fill, h, segmented, select, visible } from "../dom.js";
import { layerName, lensTable } from "../lens.js";
import { scale } from "../tokens.js";
import { pathTo } from "../tree.js";
import { ask, lead } from "./ask.js";

const MOST = 64; // tokens on a map
const CANDIDATES = 5;

export default function inside(app) {
  const { state, strings } = app, own = state.inside;
  const box = h("div", { class: "inside" });
  let data = null;

  const source = () => (own.written && state.tree.length ? { ids: pathTo(state.tree, state.at).map((node) => state.tree[node][1]) } : { text: state.text });

  async function load() {
    if (!data) fill(box, h("p", { class: "soft", text: strings.working }));
    await app.attempt(async () => {
      const all = await app.api.explain(state.model, source(), { attention: [], lens: 0, alternatives: 1 });
      const ids = all.ids.slice(0, MOST), { n_layer: blocks, n_head: count } = app.model().config;
      own.layer = Math.min(own.layer, blocks - 1);
      own.head = Math.min(own.head, count - 1);
      own.token = Math.min(own.token || ids.length - 1, ids.length - 1);
      const attention = Array.from({ length: count }, (_, head) => [own.layer, head]);
      const told = await app.api.explain(state.model, { ids }, own.look === "lens"
        ? { attention: [], lens: CANDIDATES, alternatives: 1 } : { attention, lens: 0, alternatives: 1 });
      const maps = attention.map(([layer, head]) => told.attention[`${layer}.${head}`]);
      data = { tokens: told.positions, maps, lens: told.lens, blocks, total: all.ids.length };
    });
    draw();
    app.save();
  }

  function draw() {
    if (!data) return void fill(box);
    const focused = box.contains(document.activeElement) ? { name: document.activeElement.name, ...document.activeElement.dataset } : {};
    fill(box, own.look === "lens" ? lens() : attention(),
      data.total > data.tokens.length && h("p", { class: "hint", text: strings.cut(data.tokens.length, data.total) }));
    const cell = box.querySelector(".lens [aria-pressed=true]")?.closest("td"), area = cell?.closest(".scroll");
    if (area) area.scrollLeft = cell.offsetLeft + (cell.offsetWidth - area.clientWidth) / 2;
    if (focused.name) box.querySelector(`[name="${CSS.escape(focused.name)}"]`)?.focus();
    for (const name of ["from", "head", "index"]) {
      if (name in focused) box.querySelector(`button[data-${name}="${Number(focused[name])}"]`)?.focus();
    }
  }

  function attention() {
    const map = data.maps[own.head], { tokens } = data;
    const note = h("p", { class: "note", aria: { hidden: "true" }, text: strings.headLabel(own.layer + 1, own.head + 1) });
    const focusOn = (n) => { own.token = n; draw(); app.save(); };
    const layers = Array.from({ length: data.blocks }, (_, n) => [String(n), String(n + 1)]);
    return [
      h("p", { class: "told", text: strings.attentionLead }),
      h("div", { class: "pick" }, select(strings.layer, layers, String(own.layer), (value) => { own.layer = Number(value); load(); }, { name: "layer" }),
        heads(data.maps, own.layer, own.head, strings, (head) => { own.head = head; draw(); app.save(); })),
      h("div", { class: "pair-of" },
        h("div", {}, note, attentionMap(tokens, map, own.token, strings, { layer: own.layer, head: own.head, onFocus: focusOn, onHover: (text) => { note.textContent = text; } })),
        h("section", { class: "panel" }, h("h2", { text: strings.looks(visible(tokens[own.token].text)) }), scale(strings, strings.weightScale),
          h("div", { class: "small" }, looks(tokens, map, own.token, strings, focusOn)),
          bars(strongest(tokens, map[own.token], own.token), strings, { label: strings.looks(visible(tokens[own.token].text)) }))),
    ];
  }

  function lens() {
    const rows = data.lens.length, panel = h("section", { class: "panel" });
    const show = (layer, position) => {
      fill(panel, h("h2", { text: strings.cell(layerName(layer, rows, data.blocks, strings), visible(data.tokens[position].text)) }),
        bars(data.lens[layer][position], strings));
    };
    const table = lensTable(data.tokens, data.lens, data.blocks, [rows - 1, own.token], strings, (layer, position, passing) => {
      show(layer, position);
      if (!passing) { own.token = position; app.save(); }
    });
    show(rows - 1, own.token);
    return [h("p", { class: "told", text: strings.lensLead }), scale(strings), table, panel];
  }

  const change = (look) => { own.look = look; app.redraw(); };
  load();
  return [
    lead(strings.insideTitle, strings.insideLead),
    app.fixed ? null : ask(app, strings.readThis, () => { Object.assign(own, { written: false, token: 0 }); load(); },
      state.tree.length > 0 && h("button", { type: "button", class: "quiet", text: strings.readWritten, on: { click: () => { Object.assign(own, { written: true, token: 0 }); load(); } } })),
    h("div", { class: "looks" }, segmented(strings.views.inside, [["attention", strings.attention], ["lens", strings.lens]], own.look, change)),
    box,
  ];
}

function strongest(tokens, weights, focus) {
  return weights.slice(0, focus + 1).map((weight, n) => ({ id: tokens[n].id, text: tokens[n].text, probability: weight }))
    .sort((a, b) => b.probability - a.probability).slice(0, CANDIDATES);
}
