// The frame of the page: state, header, views.

import * as api from "./api.js";
import { fill, h, segmented, select } from "./dom.js";
import { fresh, fromLink, LANGUAGES, THEMES, toLink, VIEWS } from "./state.js";
import en from "./strings.en.js";
import pt from "./strings.pt.js";
import compare from "./views/compare.js";
import inside from "./views/inside.js";
import tasks from "./views/tasks.js";
import walk from "./views/walk.js";
import write from "./views/write.js";

const STRINGS = { en, pt };
const DRAW = { write, walk, inside, tasks, compare };
const root = document.getElementById("studio");
const live = h("div", { class: "hidden", aria: { live: "polite" } });
const alertBox = h("div", { class: "alert", role: "alert" });
const main = h("main", { id: "main", tabindex: "-1" });

/** What a view gets: the state, the words, the models, and ways to change and to tell. */
const app = {
  state: fresh(navigator.language.startsWith("pt") ? "pt" : "en"),
  strings: en,
  models: [],
  cache: {}, // what views keep while the page is open
  api,
  save,
  redraw,
  say: (text) => { live.textContent = text; },
  model: () => app.models.find((model) => model.id === app.state.model),
  /** Run work(); an error is told on top of the page. */
  async attempt(work) {
    fill(alertBox);
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

function tell(text) {
  fill(alertBox, h("p", { text }));
}

function askForKey(work) {
  const field = h("input", { type: "password", autocomplete: "off" });
  const use = async (event) => {
    event.preventDefault();
    api.useKey(field.value);
    if (!app.models.length) await loadModels();
    else await app.attempt(work);
  };
  fill(alertBox, h("form", { on: { submit: use } }, h("p", { text: app.strings.keyNeeded }),
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

function header() {
  const { state, strings } = app;
  const set = (name) => (value) => { state[name] = value; redraw(); };
  const tabs = VIEWS.map((view) => h("button", {
    type: "button", class: "tab", text: strings.views[view], data: { view },
    aria: { current: view === state.view ? "page" : null },
    on: { click: () => { state.view = view; redraw(); main.focus({ preventScroll: true }); } },
  }));
  const names = app.models.map((model) => [model.id, model.id]);
  const changeModel = (name) => {
    Object.assign(state, { model: name, tree: [], at: -1 });
    state.walk.chosen = [];
    redraw();
  };
  return h("header", {},
    h("a", { class: "skip", href: "#main", text: strings.skip, on: { click: (event) => { event.preventDefault(); main.focus(); } } }),
    h("div", { class: "top" },
      h("p", { class: "mark" }, h("strong", { text: "gpt1" }), " studio"),
      h("div", { class: "tools" },
        names.length ? select(strings.model, names, state.model, changeModel, { name: "model" }) : null,
        segmented(strings.language, LANGUAGES.map((name) => [name, name.toUpperCase()]), state.language, set("language")),
        segmented(strings.theme, THEMES.map((name) => [name, strings.themes[name]]), state.theme, set("theme")),
        h("button", { type: "button", class: "quiet", text: strings.copyLink, on: { click: copyLink } }))),
    h("nav", { class: "tabs", aria: { label: strings.viewsLabel } }, tabs));
}

/** Draw the whole page; the focus stays on the same control where there still is one. */
function redraw() {
  const { state } = app;
  const { view, value } = document.activeElement?.dataset ?? {};
  app.strings = STRINGS[state.language];
  document.documentElement.lang = state.language === "pt" ? "pt-BR" : "en";
  document.documentElement.dataset.theme = state.theme;
  document.title = `${app.strings.views[state.view]} · ${app.strings.title}`;
  app.stop?.();
  app.stop = undefined;
  fill(alertBox);
  fill(main, app.models.length ? DRAW[state.view](app) : null);
  fill(root, header(), alertBox, main, live, h("footer", { text: app.strings.footer }));
  root.querySelector(view ? `.tab[data-view="${CSS.escape(view)}"]` : `.segmented [data-value="${CSS.escape(value ?? "")}"]`)?.focus();
  save();
}

async function loadModels() {
  await app.attempt(async () => {
    app.models = await api.listModels();
    const [first, second = first] = app.models.map((model) => model.id);
    if (!app.model()) Object.assign(app.state, { model: first, tree: [], at: -1 });
    if (!app.models.some((model) => model.id === app.state.other)) app.state.other = second;
    redraw();
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
  redraw();
  await loadModels();
  if (!good) tell(app.strings.linkBroken);
}

window.addEventListener("hashchange", start);
start();
