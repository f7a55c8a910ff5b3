// Elements from data. Text is only ever set as text: nothing here parses markup.

/** Return an element. `options`: class, text, data, on, vars (CSS variables), aria; the rest are attributes. */
export function h(name, options = {}, ...children) {
  const { class: classes, text, data = {}, on = {}, vars = {}, aria = {}, ...attributes } = options;
  const node = document.createElement(name);
  if (classes) node.className = classes;
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) node.setAttribute(key, "");
    else if (value !== false && value != null) node.setAttribute(key, value);
  }
  for (const [key, value] of Object.entries(aria)) if (value != null) node.setAttribute(`aria-${key}`, value);
  for (const [key, value] of Object.entries(data)) if (value != null) node.dataset[key] = value;
  for (const [key, value] of Object.entries(vars)) node.style.setProperty(`--${key}`, value);
  for (const [key, value] of Object.entries(on)) if (value) node.addEventListener(key, value);
  if (text != null) node.textContent = text;
  node.append(...children.flat(2).filter((child) => child != null && child !== false));
  return node;
}

/** Replace what `node` holds. */
export function fill(node, ...children) {
  node.replaceChildren(...children.flat(2).filter((child) => child != null && child !== false));
  return node;
}

/** Return a labelled <select>; `options` are [value, label]. */
export function select(label, options, value, onChange, extra = {}) {
  const choices = options.map(([key, name]) => h("option", { value: key, text: name, selected: key === value }));
  const list = h("select", { on: { change: () => onChange(list.value) }, ...extra }, choices);
  return h("label", { class: "field" }, h("span", { class: "name", text: label }), list);
}

/** Return a row of buttons of which one is pressed; `options` are [value, label]. */
export function segmented(label, options, value, onChange) {
  return h("div", { class: "segmented", role: "group", aria: { label } },
    options.map(([key, name]) => h("button", {
      type: "button", text: name, data: { value: key }, aria: { pressed: String(key === value) },
      on: { click: () => onChange(key) },
    })));
}

/** Arrow keys move the focus among `items`; only one of them is in the tab order. */
export function roving(items, start, { rows = 1, onFocus } = {}) {
  const width = Math.ceil(items.length / rows);
  items.forEach((item, n) => {
    item.tabIndex = n === start ? 0 : -1;
    item.addEventListener("focus", () => {
      for (const other of items) other.tabIndex = other === item ? 0 : -1;
      onFocus?.(n);
    });
    item.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: 1, ArrowLeft: -1 };
      if (rows > 1) Object.assign(steps, { ArrowDown: width, ArrowUp: -width });
      let to = n + steps[event.key];
      if (event.key === "Home") to = 0;
      if (event.key === "End") to = items.length - 1;
      if (!items[to]) return;
      event.preventDefault();
      event.stopPropagation();
      items[to].focus();
    });
  });
}

const NAMES = { "\n": "⏎", "": "∅", " ": "␣" };

/** Return a token's text as it can be seen: without the blank that ends a word, a line break as a sign. */
export function visible(text) {
  const own = text.length > 1 ? text.replace(/ $/, "") : text;
  return NAMES[own] ?? own.replaceAll("\n", "⏎");
}
