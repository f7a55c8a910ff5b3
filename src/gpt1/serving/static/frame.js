// The frame around the views: header, languages, themes, and what is told on top of the page.

import { fill, h, segmented } from "./dom.js";
import { LANGUAGES, THEMES } from "./state.js";
import en from "./strings.en.js";
import pt from "./strings.pt.js";

const STRINGS = { en, pt };

/**
 * Give `app` its frame: `strings`, and redraw(), say(text) to a screen reader, tell(...nodes) on top.
 * draw: {view: function} in the order of the tabs. ready(): whether there is something to view.
 * first(), last(): more tools of the header. footer(): the text of the last line.
 */
export function frame(app, { draw, ready = () => true, first = () => null, last = () => null, footer }) {
  const root = document.getElementById("studio");
  const live = h("div", { class: "hidden", aria: { live: "polite" } });
  const alertBox = h("div", { class: "alert", role: "alert" });
  const main = h("main", { id: "main", tabindex: "-1" });

  function header() {
    const { state, strings } = app;
    const set = (name) => (value) => { state[name] = value; app.redraw(); };
    const tabs = Object.keys(draw).map((view) => h("button", {
      type: "button", class: "tab", text: strings.views[view], data: { view },
      aria: { current: view === state.view ? "page" : null },
      on: { click: () => { state.view = view; app.redraw(); main.focus({ preventScroll: true }); } },
    }));
    return h("header", {},
      h("a", { class: "skip", href: "#main", text: strings.skip, on: { click: (event) => { event.preventDefault(); main.focus(); } } }),
      h("div", { class: "top" },
        h("p", { class: "mark" }, h("strong", { text: "gpt1" }), " studio"),
        h("div", { class: "tools" }, first(),
          segmented(strings.language, LANGUAGES.map((name) => [name, name.toUpperCase()]), state.language, set("language")),
          segmented(strings.theme, THEMES.map((name) => [name, strings.themes[name]]), state.theme, set("theme")), last())),
      h("nav", { class: "tabs", aria: { label: strings.viewsLabel } }, tabs));
  }

  app.say = (text) => { live.textContent = text; };
  app.tell = (...nodes) => { fill(alertBox, nodes); };

  /** Draw the whole page; the focus stays on the same control where there still is one. */
  app.redraw = () => {
    const { state } = app;
    const { view, value } = document.activeElement?.dataset ?? {};
    app.strings = STRINGS[state.language];
    document.documentElement.lang = state.language === "pt" ? "pt-BR" : "en";
    document.documentElement.dataset.theme = state.theme;
    document.title = `${app.strings.views[state.view]} · ${app.strings.title}`;
    app.stop?.();
    app.stop = undefined;
    app.tell();
    fill(main, ready() ? draw[state.view](app) : null);
    fill(root, header(), alertBox, main, live, h("footer", { text: footer() }));
    root.querySelector(view ? `.tab[data-view="${CSS.escape(view)}"]` : `.segmented [data-value="${CSS.escape(value ?? "")}"]`)?.focus();
    app.save();
  };
}
