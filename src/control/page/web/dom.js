// Elements, and tables whose rows stay the same elements while their figures change: what has the focus keeps it, and
// nothing is drawn that has not changed. Texts are only ever texts.

export function find(id) {
  return document.getElementById(id);
}

export function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function setText(element, text) {
  text = String(text);
  if (element.shown === text) return;
  element.shown = text;
  element.textContent = text;
}

export function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else if (element.getAttribute(name) !== String(value)) {
    element.setAttribute(name, value);
  }
}

export function show(element, visible) {
  if (element.hidden === visible) element.hidden = !visible;
}

// The children of `parent` are those of `items`, in their order: make_one(item) once for each key, update(element,
// item) each time.
export function keep(parent, items, keyOf, makeOne, update) {
  const before = parent.kept ?? new Map();
  const now = new Map();
  let at = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    if (now.has(key)) continue;
    const element = before.get(key) ?? makeOne(item);
    now.set(key, element);
    before.delete(key);
    update(element, item);
    if (element === at) at = at.nextElementSibling;
    else parent.insertBefore(element, at);
  }
  for (const element of before.values()) element.remove();
  parent.kept = now;
}

// Rows of a table. A column is {text, state, kind}: text(item) is shown; state(item), where there is one, is a word of
// style.css; kind are classes of the cell. The first column names the row.
export function fillTable(table, items, keyOf, columns) {
  keep(table.tBodies[0], items, keyOf,
    () => make("tr", null, ...columns.map((column, i) =>
      make(i === 0 ? "th" : "td", { class: column.kind ?? "", ...(i === 0 && { scope: "row" }) }))),
    (row, item) => columns.forEach((column, i) => {
      const cell = row.cells[i];
      setText(cell, column.text(item));
      if (column.state) setAttribute(cell, "data-state", column.state(item));
      if (column.draw) column.draw(cell, item);
    }));
}
