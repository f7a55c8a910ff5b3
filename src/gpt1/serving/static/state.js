// The page's state is one object, and a link holds it: JSON in base64url behind the # of the address.

import { CONTROLS, DEFAULTS } from "./settings.js";

export const VIEWS = ["write", "walk", "inside", "tasks", "compare"];
export const LANGUAGES = ["en", "pt"];
export const THEMES = ["auto", "light", "dark"];
export const TASKS = ["classification", "entailment", "similarity", "choice"];
const LONGEST = { link: 200_000, text: 20_000, nodes: 4096, answers: 6 };

/** Return the state of a first visit. */
export function fresh() {
  return {
    view: "write", language: navigator.language.startsWith("pt") ? "pt" : "en", theme: "auto", model: "", other: "",
    text: "The old man looked at the sea and",
    settings: { ...DEFAULTS },
    tree: [], at: -1, // nodes [parent, id, 1 if it was given], and the end of the path that is shown
    walk: { step: 0, temperature: 1, chosen: [] },
    inside: { look: "attention", layer: 0, head: 0, token: 0, written: false },
    tasks: { kind: "entailment", texts: {} },
  };
}

const whole = (value, low, high) => Number.isInteger(value) && value >= low && value <= high;
const isText = (value) => typeof value === "string" && value.length <= LONGEST.text;

function isTree(tree) {
  return Array.isArray(tree) && tree.length <= LONGEST.nodes && tree.every((node, n) =>
    Array.isArray(node) && node.length === 3 && whole(node[0], -1, n - 1) && whole(node[1], 0, 1e7) && whole(node[2], 0, 1));
}

const isTexts = (texts) => texts && typeof texts === "object" && TASKS.every((kind) => texts[kind] === undefined ||
  (Array.isArray(texts[kind]) && texts[kind].length <= LONGEST.answers && texts[kind].every(isText)));

const CHECKS = {
  view: (v) => VIEWS.includes(v), language: (v) => LANGUAGES.includes(v), theme: (v) => THEMES.includes(v),
  model: isText, other: isText, text: isText,
  settings: (v) => v && typeof v === "object" && CONTROLS.every((control) => control.holds(v[control.name])),
  tree: isTree,
  at: (v, all) => whole(v, -1, (all.tree?.length ?? 0) - 1),
  walk: (v) => whole(v?.step, 0, 7) && v.temperature >= 0.1 && v.temperature <= 3 && Array.isArray(v.chosen) &&
    v.chosen.length <= 512 && v.chosen.every((id) => whole(id, 0, 1e7)),
  inside: (v) => ["attention", "lens"].includes(v?.look) && whole(v.layer, 0, 999) && whole(v.head, 0, 999) &&
    whole(v.token, 0, 99_999) && typeof v.written === "boolean",
  tasks: (v) => TASKS.includes(v?.kind) && isTexts(v.texts),
};

/** Return `state` as text for an address. */
export function toLink(state) {
  const bytes = new TextEncoder().encode(JSON.stringify(state));
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** Return the state that `link` holds. Throws an Error if it is not whole and in bounds. */
export function fromLink(link) {
  if (link.length > LONGEST.link) throw new Error("too long");
  const binary = atob(link.replaceAll("-", "+").replaceAll("_", "/"));
  const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
  const given = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  const state = {};
  for (const [name, holds] of Object.entries(CHECKS)) {
    if (!given || !holds(given[name], given)) throw new Error(name);
    state[name] = given[name];
  }
  return state;
}
