// Shows what /events tells. Every text goes in as text, never as markup.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const byId = (id) => document.getElementById(id);
// Milliseconds between two sentences for those who listen to the page.
const SAY_EVERY = 5000;
let shown = null;
let saidAt = 0;
let saying = 0;

function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Children of a parent, as many as there are values: kept, added, and taken away at the end.
function fit(parent, count, make) {
  while (parent.children.length > count) parent.lastElementChild.remove();
  while (parent.children.length < count) parent.append(make(parent.children.length));
  return [...parent.children];
}

function make(name, className, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function showFacts(facts) {
  const groups = fit(byId("facts"), facts.length, () => {
    const group = make("div");
    group.append(make("dt"), make("dd"));
    return group;
  });
  groups.forEach((group, n) => [...group.children].forEach((cell, side) => set(cell, facts[n][side])));
}

function newTable(name) {
  const region = make("div", "wide");
  region.tabIndex = 0;
  region.setAttribute("role", "region");
  region.setAttribute("aria-labelledby", name);
  const table = make("table", "plain");
  const caption = make("caption");
  caption.id = name;
  const head = make("thead");
  head.append(make("tr"));
  table.append(caption, head, make("tbody"));
  region.append(table);
  return region;
}

function showTable(region, table) {
  const { columns, rows, numbers } = table.grid;
  const long = columns.indexOf("reason");
  const kind = (n) => (numbers.includes(n) ? "number" : n === long ? "long" : "");
  set(region.querySelector("caption"), table.caption);
  const titles = fit(region.querySelector("thead tr"), columns.length, () => make("th"));
  titles.forEach((cell, n) => {
    cell.scope = "col";
    cell.className = kind(n);
    set(cell, columns[n]);
  });
  const lines = fit(region.querySelector("tbody"), rows.length, () => make("tr"));
  lines.forEach((line, row) => {
    const cells = fit(line, columns.length, (n) => make(n ? "td" : "th"));
    cells[0].scope = "row";
    cells.forEach((cell, n) => {
      cell.className = kind(n);
      const state = n === table.states;
      // What the cell held before: another table's row may have had a state here, or none.
      if (state !== Boolean(cell.firstElementChild)) cell.replaceChildren();
      if (!state) return set(cell, rows[row][n]);
      const [chip] = fit(cell, 1, () => make("span"));
      chip.className = `state ${rows[row][n]}`;
      set(chip, rows[row][n]);
    });
  });
}

function showTables(id, tables) {
  const regions = fit(byId(id), tables.length, (n) => newTable(`${id}-${n}`));
  regions.forEach((region, n) => showTable(region, tables[n]));
}

function draw(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function chart(curve, width) {
  const height = 200, left = 58, right = 14, top = 12, bottom = 26;
  const { points } = curve;
  const values = points.flatMap((point) => point.slice(1)).filter((value) => value !== null);
  const low = Math.min(...values), high = Math.max(...values);
  const first = points[0][0], last = points[points.length - 1][0];
  const x = (n) => left + ((n - first) / Math.max(1, last - first)) * (width - left - right);
  const y = (v) => top + (1 - (v - low) / (high - low || 1)) * (height - top - bottom);
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
  const ends = (column) => points.map((point) => point[column]).filter((value) => value !== null);
  const words = [["training loss", ends(1)], ["validation loss", ends(2)]]
    .filter(([, found]) => found.length)
    .map(([name, found]) => `${name} from ${found[0].toFixed(4)} to ${found[found.length - 1].toFixed(4)}`);
  svg.setAttribute("aria-label", `${curve.phase}, rounds ${first} to ${last}: ${words.join(", ")}`);
  svg.append(draw("path", { class: "axis", d: `M${left} ${top}V${height - bottom}H${width - right}` }));
  svg.append(draw("text", { x: left - 6, y: y(high) + 4, "text-anchor": "end" }, high.toPrecision(4)));
  if (high !== low) svg.append(draw("text", { x: left - 6, y: y(low) + 4, "text-anchor": "end" }, low.toPrecision(4)));
  svg.append(draw("text", { x: left, y: height - 8 }, `round ${first}`));
  svg.append(draw("text", { x: width - right, y: height - 8, "text-anchor": "end" }, `${last}`));
  [[1, "loss"], [2, "validation"]].forEach(([column, name]) => {
    const found = points.filter((point) => point[column] !== null);
    const line = found.map((point) => `${x(point[0]).toFixed(1)},${y(point[column]).toFixed(1)}`);
    svg.append(draw("polyline", { class: name, points: line.join(" ") }));
    found.slice(-1).forEach((point) =>
      svg.append(draw("circle", { class: `dot ${name}`, cx: x(point[0]), cy: y(point[column]), r: 3.5 })));
  });
  return svg;
}

function showCurves(curves) {
  byId("curves").hidden = !curves.length;
  const parent = byId("charts");
  const state = JSON.stringify([curves, parent.clientWidth]);
  if (parent.dataset.state === state) return;
  parent.dataset.state = state;
  parent.replaceChildren(...curves.map((curve) => {
    const figure = make("figure");
    figure.append(make("figcaption", "", curve.phase), chart(curve, Math.max(280, parent.clientWidth)));
    return figure;
  }));
}

// What goes on, for those who listen: the newest sentence, now and then.
function say(text) {
  clearTimeout(saying);
  saying = setTimeout(() => {
    saidAt = Date.now();
    set(byId("said"), text);
  }, Math.max(0, saidAt + SAY_EVERY - Date.now()));
}

function show(view) {
  const before = shown;
  shown = view;
  document.title = `${view.state}: ${view.title} · EchoFM Federated`;
  set(byId("title"), view.title);
  set(byId("state"), view.state);
  byId("state").className = `state ${view.state}`;
  set(byId("sentence"), view.sentence);
  if (!before || before.sentence !== view.sentence) say(`${view.state}. ${view.sentence}`);
  byId("progress").hidden = !view.total;
  byId("bar").max = Math.max(1, view.total);
  byId("bar").value = view.done;
  set(byId("rounds"), `${view.done} of ${view.total} rounds`);
  showFacts(view.facts);
  byId("notes").hidden = !view.notes.length;
  fit(byId("notes").firstElementChild, view.notes.length, () => make("li"))
    .forEach((item, n) => set(item, view.notes[n]));
  showTables("now", view.tables.filter((table) => !table.past));
  showTables("past", view.tables.filter((table) => table.past));
  showCurves(view.curves);
}

function problem(text) {
  byId("problem").hidden = !text;
  set(byId("problem"), text);
}

const events = new EventSource("/events");
events.onmessage = (event) => {
  problem("");
  show(JSON.parse(event.data));
};
events.onerror = () => {
  const over = events.readyState === EventSource.CLOSED;
  problem(over
    ? "This page is no longer told anything: start echofm watch --web again, and open its new address."
    : "No connection to echofm watch: what stands here is what was seen last. Trying again.");
};
new ResizeObserver(() => shown && showCurves(shown.curves)).observe(document.body);
