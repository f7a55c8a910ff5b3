// A text in a file of its own: views of the studio on answers that the file holds, without a server.

import { frame } from "./frame.js";
import { recorded } from "./recorded.js";
import { fresh } from "./state.js";
import inside from "./views/inside.js";
import read from "./views/read.js";

const held = JSON.parse(document.getElementById("held").textContent);
const { n_layer: layers, n_head: heads, parameters } = held.config;

const app = {
  state: { ...fresh(), view: "read", text: held.text },
  fixed: true, // the text cannot be changed
  api: recorded(held),
  save: () => {},
  model: () => held,
  attempt: (work) => work(),
};
frame(app, { draw: { read, inside }, footer: () => app.strings.pageFooter(layers, heads, parameters) });
app.redraw();
