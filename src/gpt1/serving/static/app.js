// The studio: its state, its link, its models and their server.

import * as api from "./api.js";
import { h, select } from "./dom.js";
import { frame } from "./frame.js";
import { fresh, fromLink, toLink } from "./state.js";
import compare from "./views/compare.js";
import inside from "./views/inside.js";
import tasks from "./views/tasks.js";
import walk from "./views/walk.js";
import write from "./views/write.js";

/** What a view gets: the state, the words, the models, and ways to change and to tell. */
const app = {
  state: fresh(),
  models: [],
  cache: {}, // what views keep while the page is open
  api,
  save,
  model: () => app.models.find((model) => model.id === app.state.model),
  /** Run work(); an error is told on top of the page. */
  async attempt(work) {
    app.tell();
    try {
      return await work();
    } catch (error) {
      if (error.name === "AbortError") return undefined;
      if (!(error instanceof api.ApiError)) console.error(error);
      if (error.status === 401) askForKey(work);
      else tell(error.status === 0 ? app.strings.noServer : error.message);
      return undefined;
    }
  },
};
frame(app, {
  draw: { write, walk, inside, tasks, compare },
  ready: () => app.models.length > 0,
  first: pickModel,
  last: () => h("button", { type: "button", class: "quiet", text: app.strings.copyLink, on: { click: copyLink } }),
  footer: () => app.strings.footer,
});

const tell = (text) => app.tell(h("p", { text }));

function askForKey(work) {
  const field = h("input", { type: "password", autocomplete: "off" });
  const use = async (event) => {
    event.preventDefault();
    api.useKey(field.value);
    if (!app.models.length) await loadModels();
    else await app.attempt(work);
  };
  app.tell(h("form", { on: { submit: use } }, h("p", { text: app.strings.keyNeeded }),
    h("label", { class: "field" }, h("span", { class: "name", text: app.strings.key }), field),
    h("button", { class: "quiet", text: app.strings.useKey })));
}

function save() {
  history.replaceState(null, "", `#${toLink(app.state)}`);
}

async function copyLink() {
  save();
  let told = app.strings.linkInAddress;
  try {
    await navigator.clipboard.writeText(location.href);
    told = app.strings.linkCopied;
  } catch { /* without permission the address bar has it all the same */ }
  tell(told);
}

function pickModel() {
  const names = app.models.map((model) => [model.id, model.id]);
  const change = (name) => {
    Object.assign(app.state, { model: name, tree: [], at: -1 });
    app.state.walk.chosen = [];
    app.redraw();
  };
  return names.length ? select(app.strings.model, names, app.state.model, change, { name: "model" }) : null;
}

async function loadModels() {
  await app.attempt(async () => {
    app.models = await api.listModels();
    const [first, second = first] = app.models.map((model) => model.id);
    if (!app.model()) Object.assign(app.state, { model: first, tree: [], at: -1 });
    if (!app.models.some((model) => model.id === app.state.other)) app.state.other = second;
    app.redraw();
  });
}

/** Take the state from the address. */
function readLink() {
  const link = location.hash.slice(1);
  if (!link) return true;
  try {
    app.state = fromLink(link);
    return true;
  } catch {
    return false;
  }
}

async function start() {
  app.cache = {};
  const good = readLink();
  app.redraw();
  await loadModels();
  if (!good) tell(app.strings.linkBroken);
}

window.addEventListener("hashchange", start);
start();
