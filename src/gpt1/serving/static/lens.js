// The logit lens: what the model would say if it stopped after each layer.

import { h, roving, visible } from "./dom.js";
import { shade } from "./tokens.js";

/** Return what row n of a lens is called; with one row more than blocks the first is the embeddings. */
export function layerName(n, rows, blocks, strings) {
  const layer = n + 1 - (rows - blocks);
  return layer ? strings.layerName(layer) : strings.embeddingsRow;
}

/** Draw lens[layer][position] -> candidates, the last layer on top. `selected`: [layer, position]. */
export function lensTable(tokens, lens, blocks, selected, strings, onSelect) {
  const cells = [];
  const rows = lens.map((row, layer) => {
    const name = layerName(layer, lens.length, blocks, strings);
    return h("tr", {}, h("th", { scope: "row", text: name }), row.map(([best], position) => {
      const here = layer === selected[0] && position === selected[1];
      const button = h("button", {
        type: "button", text: visible(best.text), title: `${visible(best.text)} ${strings.percent(best.probability)}`,
        data: { layer, position, id: best.id, p: best.probability }, vars: { shade: shade(best.probability) },
        aria: { label: strings.tokenLabel(visible(best.text), best.probability), pressed: String(here) },
        on: { click: () => onSelect(layer, position), mouseenter: () => onSelect(layer, position, true) },
      });
      return h("td", {}, button);
    }));
  }).reverse();
  for (const row of rows) cells.push(...row.querySelectorAll("button"));
  roving(cells, Math.max(0, cells.findIndex((cell) => cell.getAttribute("aria-pressed") === "true")), {
    rows: rows.length, onFocus: (n) => onSelect(Number(cells[n].dataset.layer), Number(cells[n].dataset.position), true),
  });
  const foot = h("tr", {}, h("td", {}), tokens.map((token) => h("th", { scope: "col", text: visible(token.text) })));
  return h("div", { class: "scroll", tabindex: "0", role: "region", aria: { label: strings.lensTable } },
    h("table", { class: "lens" }, h("caption", { class: "hidden", text: strings.lensTable }), h("tbody", {}, rows), h("tfoot", {}, foot)));
}
