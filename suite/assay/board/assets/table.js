// The table: columns and rows in, a sorted, filtered page of rows out. Its only memory is of rows already built.
"use strict";
const Table = (() => {
  const { element, breakable, figure, evidence } = Page;

  /** What a column sorts by: a number, a text, or null (always last). */
  const sortKey = (column, row) => {
    if (column.text) return column.text(row).toLowerCase();
    const cell = column.cell(row);
    return Array.isArray(cell) ? cell[0] : null;
  };

  /** Rows in order; in a column of figures those that nobody but their authors computed stand below the others. */
  function sorted(rows, column, descending) {
    const keyed = rows.map((row) => [sortKey(column, row), row, column.checked ? column.checked(row) : true]);
    const sign = descending ? -1 : 1;
    keyed.sort(([a, one, first], [b, other, second]) => {
      if (a !== null && b !== null && first !== second) return first ? -1 : 1;
      if (a === null || b === null) return (a === null) - (b === null) || (one.model < other.model ? -1 : 1);
      if (a !== b) return a < b ? -sign : sign;
      return one.model < other.model ? -1 : 1;
    });
    return keyed.map(([, row]) => row);
  }

  function range(column, rows) {
    if (column.unit === "proportion") return [0, 1];
    let low = Infinity;
    let high = -Infinity;
    for (const row of rows) {
      const cell = column.cell(row);
      if (!Array.isArray(cell) || cell[0] === null) continue;
      low = Math.min(low, cell[1] ?? cell[0]);
      high = Math.max(high, cell[2] ?? cell[0]);
    }
    return low < high ? [low, high] : [low - 1, low + 1];
  }

  function errorBar([value, low, high], [from, to]) {
    const share = (x) => `${(100 * Math.min(1, Math.max(0, (x - from) / (to - from)))).toFixed(1)}%`;
    const bar = element("span", { class: "bar", "aria-hidden": "true" });
    bar.style.cssText = `--low:${share(low)};--high:${share(high)};--value:${share(value)}`;
    return bar;
  }

  const TIERS = ["submitted", "re-scored", "re-run"];
  const FEW = 100;  // below so many units a figure is marked

  /** A tier at a glance: one, two or three dots of three. */
  const meter = (tier) => element("span", { class: `meter ${tier}`, title: tier, "aria-hidden": "true" },
    ...TIERS.map((_, at) => element("i", at <= TIERS.indexOf(tier) ? { class: "on" } : {})));

  const places = (best, worst) => (best === worst ? `${best}` : `${best}–${worst}`);

  function valueCell(column, row, scale) {
    const cell = column.cell(row);
    if (cell === undefined) return notRun(column, row);
    if (typeof cell === "string") return folded("n/a", cell);
    const [value, low, high, n, best, worst] = cell;
    if (value === null) return element("td", { class: "none" }, "–");
    const interval = low === null || high === null ? null : `${figure(low, column.unit, 3)} to ${figure(high, column.unit, 3)}`;
    const tier = column.ranked ? column.tier(row) : null;
    return element("td", { class: column.evidence || null, title: `n = ${n}${tier ? `, ${tier}` : ""}` },
      best ? element("span", { class: "place" }, element("span", { class: "unseen" }, "place "), places(best, worst)) : null,
      column.sign ? element("span", { class: "sign" }, column.sign) : null, element("span", { class: "value" }, figure(value, column.unit)),
      tier ? meter(tier) : null, tier ? element("span", { class: "unseen" }, `, ${tier}`) : null,
      interval ? errorBar(cell, scale) : null,
      element("small", {}, interval, n < FEW ? element("span", { class: "few", title: `fewer than ${FEW} units` }, `${interval ? " " : ""}n ${n}`) : null));
  }

  /** A cell that nobody has filled yet, and the command that does. */
  function notRun(column, row) {
    if (!column.run) return element("td", { class: "none" }, element("span", { class: "unseen" }, "not submitted"));
    return folded("not run", element("code", {}, column.run(row)));
  }

  /** A cell without a figure, and why, for a reader who asks. */
  const folded = (words, why) => element("td", { class: "none" }, element("details", { class: "run" }, element("summary", {}, words), element("div", {}, why)));

  function header(columns, state, onSort) {
    const cells = columns.map((column) => {
      const active = state.sort === column.key;
      const direction = !active ? "none" : state.desc ? "descending" : "ascending";
      const button = element("button", { type: "button", title: column.hint ?? null, onclick: () => onSort(column), "data-sort": column.key },
        ...breakable(column.label), element("span", { class: "arrow", "aria-hidden": "true" }, active ? (state.desc ? " ▼" : " ▲") : ""));
      return element("th", { scope: "col", "aria-sort": direction, class: column.text ? "text" : null }, button,
        column.note ? element("small", {}, ...breakable(column.note)) : null, evidence(column.evidence));
    });
    return element("tr", {}, element("th", { scope: "col", class: "pick" }, element("span", { class: "unseen" }, "Compare")), ...cells);
  }

  function bodyRow(columns, row, scales, onPick) {
    const box = element("input", { type: "checkbox", "aria-label": `Compare ${row.model}`, "data-id": row.id, onchange: () => onPick(row) });
    const cells = columns.map((column, at) => {
      if (!column.text) return valueCell(column, row, scales[at]);
      const content = column.content ? column.content(row) : column.text(row);
      return element(at === 0 ? "th" : "td", at === 0 ? { scope: "row" } : { class: "text" }, content);
    });
    return element("tr", {}, element("td", { class: "pick" }, box), ...cells);
  }

  const made = new Map();  // rows already built, and the columns' scales, for the columns they were built for
  let scales = [];
  let madeFor = "";

  function builtRow(view, row) {
    if (!made.has(row.id)) made.set(row.id, bodyRow(view.columns, row, scales, view.onPick));
    const built = made.get(row.id);
    const box = built.querySelector("input");
    box.checked = view.state.compare.includes(row.id);
    box.disabled = view.state.compare.length >= 4 && !box.checked;
    return built;
  }

  /** Fill a table; `view` holds columns, all rows (for scales), the rows to show, state, onSort and onPick. */
  function fill(table, view) {
    const columns = `${view.state.track} ${view.state.task} ${view.columns.map(({ key }) => key).join(" ")}`;
    if (columns !== madeFor) {
      made.clear();
      scales = view.columns.map((column) => (column.text ? null : range(column, view.allRows)));
    }
    madeFor = columns;
    table.tHead.replaceChildren(header(view.columns, view.state, view.onSort));
    table.tBodies[0].replaceChildren(...view.rows.map((row) => builtRow(view, row)));
  }

  return { sorted, fill, places, meter };
})();
