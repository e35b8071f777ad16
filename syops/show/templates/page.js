"use strict";
// Sorting, folding and searching of the tables of layers; arrow keys as in a tree. Without it
// every layer is shown.
for (const box of document.querySelectorAll(".layers")) {
  const table = box.querySelector("table");
  const body = table.tBodies[0];
  const [query, grouped, output] = [".query", ".grouped", "output"].map(s => box.querySelector(s));
  const headings = [...table.tHead.rows[0].cells];
  const root = { children: [], level: 0 };
  let by = -1, descending = true, current = null;

  // The rows, as a tree.
  const nodes = [];
  for (const row of body.rows) {
    const level = +row.getAttribute("aria-level");
    let parent = nodes.length ? nodes[nodes.length - 1] : root;
    while (parent.level >= level) parent = parent.parent;
    const node = { row, level, parent, order: nodes.length, children: [], open: true };
    node.text = [row.dataset.name, ...[...row.cells].filter(c => !c.matches(".r")).map(c => c.textContent)].join(" ").toLowerCase();
    node.keys = [...row.cells].map(c => c.matches(".r") ? (c.dataset.value === "" ? null : +c.dataset.value) : c.textContent);
    parent.children.push(node);
    nodes.push(node);
  }
  const leaves = nodes.filter(node => !node.children.length);
  const modules = nodes.filter(node => node.children.length);

  function compare(a, b) {
    if (by < 0) return a.order - b.order;
    const [x, y] = by ? [a.keys[by], b.keys[by]] : [a.row.dataset.name, b.row.dataset.name];
    if (x === null || y === null) return (x === null) - (y === null) || a.order - b.order;
    const sign = typeof x === "string" ? x.localeCompare(y, "en", { numeric: true }) : x - y;
    return (descending ? -sign : sign) || a.order - b.order;
  }

  function* walk(node) {
    for (const child of [...node.children].sort(compare)) {
      yield child;
      yield* walk(child);
    }
  }

  function show() {
    const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
    const tree = grouped.checked;
    const found = new Set(leaves.filter(leaf => words.every(word => leaf.text.includes(word))));
    const above = new Set();
    for (const leaf of found) for (let n = leaf.parent; n !== root; n = n.parent) above.add(n);
    const order = tree ? [...walk(root)] : [...leaves].sort(compare);
    if (!tree) order.push(...modules);
    for (const node of nodes) {
      const { row } = node;
      const matches = found.has(node) || tree && above.has(node);
      let open = true;
      for (let n = node.parent; tree && n !== root; n = n.parent) open &&= n.open || words.length > 0;
      row.hidden = !matches;
      row.classList.toggle("closed", !open);
      row.cells[0].textContent = tree ? row.dataset.label : row.dataset.name;
      row.setAttribute("aria-level", tree ? node.level : 1);
      if (node.children.length) row.setAttribute("aria-expanded", node.open || words.length > 0);
    }
    body.append(...order.map(node => node.row));
    box.classList.toggle("flat", !tree);
    subtotal(words.length ? [...found] : null);
    output.textContent = words.length ? `${found.size} of ${leaves.length} layers` : `${leaves.length} layers`;
    headings.forEach((heading, i) => {
      if (i === by) heading.setAttribute("aria-sort", descending ? "descending" : "ascending");
      else heading.removeAttribute("aria-sort");
    });
    if (!current || !shown().includes(current)) focusable(shown()[0]);
  }

  // What is found adds up to, where values can be added.
  function subtotal(found) {
    const sums = box.querySelector(".found");
    sums.hidden = !found;
    if (!found) return;
    sums.cells[0].textContent = found.length === 1 ? "1 layer found" : `${found.length} layers found`;
    headings.forEach((heading, i) => {
      if (!heading.dataset.unit) return;
      const known = found.map(leaf => leaf.keys[i]).filter(value => value !== null);
      const sum = known.reduce((a, b) => a + b, 0) / heading.dataset.unit;
      const percent = heading.dataset.kind === "share";
      sums.cells[i].textContent = !known.length ? "\u2013" : percent ? `${sum.toFixed(1)}%` : digits(sum, +heading.dataset.unit === 1);
    });
  }

  // Three significant digits, as everywhere; whole numbers in full where they have no unit.
  function digits(value, plain) {
    if (value === Infinity) return "none";
    if (value === 0 || plain && Number.isInteger(value)) return `${value}`;
    if (value < 1e-4 || value >= 1e15) return value.toExponential(2);
    const exponent = Math.floor(Math.log10(+value.toPrecision(3)));
    return value.toFixed(Math.min(Math.max(2 - exponent, 0), 6));
  }

  function shown() {
    return [...body.rows].filter(row => !row.hidden && !row.classList.contains("closed"));
  }

  function focusable(row) {
    if (current) current.tabIndex = -1;
    current = row || null;
    if (current) current.tabIndex = 0;
  }

  function go(row) {
    if (!row) return;
    focusable(row);
    row.focus();
  }

  function fold(node, open) {
    node.open = open;
    show();
  }

  const nodeOf = row => nodes.find(node => node.row === row);

  headings.forEach((heading, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    button.title = "sort";
    heading.append(button);
    heading.classList.add("sorts");
    button.addEventListener("click", () => {
      const first = heading.matches(".r"); // numbers from the largest, names from A
      if (by !== i) [by, descending] = [i, first];
      else if (descending === first) descending = !first;
      else by = -1; // the order of execution
      show();
    });
  });
  body.addEventListener("click", event => {
    const cell = event.target.closest("tr[aria-expanded] > th");
    if (!cell || !grouped.checked) return;
    const node = nodeOf(cell.parentNode);
    focusable(node.row);
    fold(node, !node.open);
  });
  body.addEventListener("keydown", event => {
    const row = event.target.closest("tr");
    if (!row || event.altKey || event.ctrlKey || event.metaKey) return;
    const node = nodeOf(row), rows = shown(), at = rows.indexOf(row);
    const folds = grouped.checked && node.children.length > 0;
    const act = {
      ArrowDown: () => go(rows[at + 1]),
      ArrowUp: () => go(rows[at - 1]),
      Home: () => go(rows[0]),
      End: () => go(rows[rows.length - 1]),
      ArrowRight: () => folds && (node.open ? go(rows[at + 1]) : fold(node, true)),
      ArrowLeft: () => folds && node.open ? fold(node, false) : grouped.checked && node.parent !== root && go(node.parent.row),
      Enter: () => folds && fold(node, !node.open),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
    if (document.activeElement !== current) current?.focus();
  });
  query.addEventListener("input", show);
  grouped.addEventListener("change", show);
  for (const [name, open] of [[".open", true], [".close", false]]) {
    box.querySelector(name).addEventListener("click", () => {
      for (const node of modules) node.open = open;
      show();
    });
  }
  if (box.dataset.closed === "yes") for (const node of modules) node.open = false;
  for (const node of nodes) node.row.tabIndex = -1;
  box.querySelector(".controls").hidden = false;
  show();
}
// Whether what scrolls sideways has to: a hint says so, and headings stick to what scrolls.
const sized = new ResizeObserver(entries => {
  for (const { target } of entries) {
    const wide = target.scrollWidth > target.clientWidth + 1;
    target.classList.toggle("wide", wide);
    target.classList.toggle("fits", !wide);
  }
});
for (const box of document.querySelectorAll(".scroll, figure")) sized.observe(box);
