// Tables of class "sortable": a click on a header sorts by its column, up, then down, then as it was.
// Headers of columns have scope="col"; those that span several rows come first, so that their order
// in the document is that of the columns.
(() => {
  "use strict";
  const NUMBER = /^([+-]?(?:\d[\d,]*)?\.?\d+(?:e[+-]?\d+)?)(?=$|[\s%(\[])/i;

  /** Text of a cell, and its leading number: of "11.6 [7.7, 15.8]" it is 11.6. */
  const keyOf = (cell) => {
    const text = ((cell?.querySelector("b") ?? cell)?.textContent ?? "").trim();
    const found = NUMBER.exec(text.replace("\u2212", "-"));
    if (found) return { rank: 0, value: Number(found[1].replaceAll(",", "")) };
    return { rank: text === "" || text.startsWith("n/a") ? 2 : 1, value: text };
  };

  /** Numbers first, then words, then cells without a value; the direction is of values alone. */
  const compare = (a, b, sign) => {
    if (a.rank !== b.rank) return a.rank - b.rank;
    if (a.rank === 0) return sign * (a.value - b.value);
    return a.rank === 1 ? sign * a.value.localeCompare(b.value, undefined, { numeric: true }) : 0;
  };

  const sortable = (table) => {
    const body = table.tBodies[0];
    const original = [...body.rows];
    const headers = [...table.tHead.querySelectorAll('th[scope="col"]')];
    if (original.length < 2) return;
    headers.forEach((header, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => {
        const next = { ascending: "descending", descending: "" }[header.ariaSort] ?? "ascending";
        for (const other of headers) other.removeAttribute("aria-sort");
        if (next) header.setAttribute("aria-sort", next);
        const sign = next === "descending" ? -1 : 1;
        const keys = new Map(original.map((row) => [row, keyOf(row.cells[column])]));
        const rows = [...original];
        if (next) rows.sort((a, b) => compare(keys.get(a), keys.get(b), sign));
        body.append(...rows);
      });
    });
  };

  document.querySelectorAll("table.sortable").forEach(sortable);
})();
