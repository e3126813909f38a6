// One board: state from the link, controls, table, comparison. Everything a reader chose is in the link.
"use strict";
(async () => {
  const { element, breakable } = Page;
  const PAGE_SIZES = [25, 50, 100, 250];
  const by = (id) => document.getElementById(id);
  const models = window.ASSAY.models;
  const overview = window.ASSAY.overview;  // only on the overview
  const SUBMITTED = "submitted";  // by arithmetic alone: without a place, and below all others
  const NOTHING = "-";  // in the link: no column is switched off, though some are by default
  const SHOWN = 6;  // figures of a task that a reader sees at once: they fit beside the models at 1,280 pixels
  const DEFAULTS = { q: "", tier: "", paper: "", track: overview?.tracks[0]?.id ?? "", task: by("task")?.value ?? "", x: "", y: "", sort: "", desc: false, hide: null, compare: [], open: false, page: 0, size: PAGE_SIZES[0] };
  let state = { ...DEFAULTS };
  let columns = [];
  let usuallyHidden = [];
  let tried = new Set();  // on a family's board: the models that have a result of the chosen task
  let pairShown = "";

  // --- the link -------------------------------------------------------------------------------------------------
  const WORDS = ["q", "tier", "paper", "track", "task", "x", "y", "sort"];

  function readLink() {
    const given = new URLSearchParams(location.hash.slice(1));
    const read = { ...DEFAULTS };
    for (const key of WORDS) read[key] = given.get(key) ?? DEFAULTS[key];
    for (const key of ["desc", "open"]) read[key] = given.get(key) === "1";
    if (given.has("hide")) read.hide = given.getAll("hide").filter((key) => key !== NOTHING);
    read.compare = given.getAll("compare");
    read.page = Math.max(0, Number.parseInt(given.get("page") ?? "1", 10) - 1 || 0);
    read.size = PAGE_SIZES.includes(Number(given.get("size"))) ? Number(given.get("size")) : PAGE_SIZES[0];
    if (overview && !overview.tracks.some(({ id }) => id === read.track)) read.track = DEFAULTS.track;
    read.compare = read.compare.filter((id) => models.some((model) => model.id === id)).slice(0, 4);
    return read;
  }

  function writeLink() {
    const link = new URLSearchParams();
    for (const key of WORDS) if (state[key] !== DEFAULTS[key]) link.set(key, state[key]);
    for (const key of ["desc", "open"]) if (state[key]) link.set(key, "1");
    if (state.hide) (state.hide.length ? state.hide : [NOTHING]).forEach((key) => link.append("hide", key));
    state.compare.forEach((id) => link.append("compare", id));
    if (state.page) link.set("page", state.page + 1);
    if (state.size !== PAGE_SIZES[0]) link.set("size", state.size);
    history.replaceState(null, "", `#${link}`);
  }

  // --- columns --------------------------------------------------------------------------------------------------
  const modelColumn = {
    key: "model", label: "model", text: (row) => row.model,
    content: (row) => element("span", {}, element("a", { href: `${Page.root}models/${row.id}.html` }, ...breakable(row.model)),
      row.architecture === row.model ? null : element("small", { class: "wide" }, row.architecture),
      element("small", {}, Table.meter(tierOf(row)), ` ${tierOf(row)}, by ${row.who}`)),
  };
  /** What stands behind a row: on a task's board behind that result, on the overview behind the least of all. */
  const tierOf = (row) => (overview ? row.tier : row.tiers[state.task] ?? row.tier);
  const tierColumn = {
    key: "tier", label: "tier", text: tierOf,
    content: (row) => element("span", {}, element("span", { class: `tier ${tierOf(row)}` }, tierOf(row)),
      element("small", {}, row.when ?? "not committed yet")),
  };
  const paperColumn = { key: "paper", label: "paper", text: (row) => row.paper, content: (row) => element("span", { class: "paper" }, row.paper) };
  const licenceColumn = { key: "licence", label: "licence", text: (row) => row.licence };

  /** A figure's unit, and which way is better. */
  const note = (unit, better) => [unit === "proportion" ? "%" : unit, { higher: "↑", lower: "↓" }[better]].filter(Boolean).join(" ");

  /** A title as a heading and its details; the mark of what is found says what stands before a colon. */
  function parts(title) {
    const [words, ...details] = title.split(": ").pop().split(", ");
    return [words[0].toUpperCase() + words.slice(1), details.join(", ")];
  }

  const trackShown = () => overview.tracks.find(({ id }) => id === state.track);
  const rowsOf = (track) => { const own = new Set(track.models); return models.filter(({ id }) => own.has(id)); };
  const rowsAsked = () => (overview && overview.tracks.length ? rowsOf(trackShown()) : models);

  /** One column per task of the track that any model has a figure of; the others are named below the table. */
  function overviewColumns() {
    const known = new Map(overview.tasks.map((task) => [task.id, task]));
    return Object.entries(trackShown()?.headings ?? {}).map(([id, heading]) => {
      const task = known.get(id);
      return {
        key: id, family: task.family, label: heading, measure: task.measure, full: `${heading}: ${task.measure}`, csv: `${id} ${task.metric}`,
        hint: `${task.measure}. ${task.title}`, note: note(task.unit, task.better), ranking: task.metric, unit: task.unit, better: task.better,
        evidence: task.evidence, sign: task.sign, cell: (row) => overview.rows[row.id]?.[id], ranked: true, checked: (row) => row.tiers[id] !== SUBMITTED,
        tier: (row) => row.tiers[id], run: (row) => row.run.replace("TASK", id),
      };
    });
  }

  /** The overview's columns that there is no room for: of families with several tasks, those that the fewest models were asked. */
  function withoutRoom(all) {
    if (all.length <= SHOWN) return [];
    const asked = new Map(all.map((column) => [column, rowsAsked().filter((row) => column.cell(row) !== undefined).length]));
    const others = (column, among) => among.filter((other) => other !== column && other.family === column.family);
    // Another scale of the same question, which hardly anybody was asked, goes first.
    const rare = all.filter((column) => others(column, all).some((other) => asked.get(other) >= 2 * asked.get(column)));
    let left = all.filter((column) => !rare.includes(column));
    while (left.length > SHOWN) {
      const several = left.filter((column) => others(column, left).length);
      if (!several.length) break;
      const least = several.reduce((one, other) => (asked.get(other) < asked.get(one) ? other : one));
      left = left.filter((column) => column !== least);
    }
    return all.filter((column) => !left.includes(column));
  }

  async function taskColumns() {
    const board = await Page.data(`tasks/${state.task}`);
    tried = new Set(Object.keys(board.rows));
    const better = (metric) => (metric.name === board.rank_by ? board.better : { up: "higher", down: "lower" }[metric.direction]);
    const made = board.metrics.map((metric, at) => ({
      key: metric.name, label: parts(metric.title)[0], full: metric.title, hint: `${metric.title}: ${metric.name}`,
      unit: metric.unit, metric, evidence: metric.evidence, sign: metric.sign,
      note: [parts(metric.title)[1], note(metric.unit, better(metric)).replaceAll(" ", "\u00a0")].filter(Boolean).join(", "),
      better: better(metric) ?? "higher",
      ranked: metric.name === board.rank_by, checked: (row) => board.tiers[row.id] !== SUBMITTED, tier: (row) => board.tiers[row.id],
      cell: (row) => {
        const cells = board.rows[row.id];
        if (cells === undefined || typeof cells === "string") return cells;
        return metric.name === board.rank_by ? [...cells[at], ...(board.places[row.id] ?? [])] : cells[at];
      },
    }));
    // The headline, single figures, the curve of the worst case; the start of a curve, which is the clean figure again, last.
    const order = ({ ranked, metric: { x, series } }) => (ranked ? 0 : x === null ? 1 : x === 0 ? 4 : series === "worst" ? 2 : 3);
    return made.sort((one, other) => order(one) - order(other));
  }

  /** Figures stand beside the model, so that they are in sight where there is no room for all. */
  const everyColumn = () => [modelColumn, ...columns, tierColumn, paperColumn, licenceColumn];
  const off = () => state.hide ?? usuallyHidden;  // nothing chosen: what there is no room for
  const visible = () => everyColumn().filter((column, at) => at === 0 || !off().includes(column.key));

  // --- rows -----------------------------------------------------------------------------------------------------
  const haystack = (row) => `${row.model} ${row.architecture} ${row.paper} ${row.licence} ${tierOf(row)}`.toLowerCase();
  const filters = [
    { name: "the search", keeps: (row) => state.q.toLowerCase().split(/\s+/).every((word) => haystack(row).includes(word)), on: () => state.q },
    { name: "the tier", keeps: (row) => tierOf(row) === state.tier, on: () => state.tier },
    { name: "the task, which they have no result of", keeps: (row) => tried.has(row.id), on: () => !overview },
    { name: "the paper", keeps: (row) => row.paper === state.paper, on: () => state.paper },
  ];

  function kept() {
    let rows = rowsAsked();
    const hidden = [];
    for (const filter of filters.filter(({ on }) => on())) {
      const left = rows.filter(filter.keeps);
      if (left.length < rows.length) hidden.push(`${rows.length - left.length} hidden by ${filter.name}`);
      rows = left;
    }
    return { rows, hidden };
  }

  function ordered(rows) {
    const shown = visible();
    const column = shown.find(({ key }) => key === state.sort) ?? modelColumn;
    return Table.sorted(rows, column, state.desc);
  }

  // --- drawing --------------------------------------------------------------------------------------------------
  function draw() {
    const { rows, hidden } = kept();
    const pages = Math.max(1, Math.ceil(rows.length / state.size));
    state.page = Math.min(state.page, pages - 1);
    const from = state.page * state.size;
    const part = ordered(rows).slice(from, from + state.size);
    Table.fill(by("board"), { columns: visible(), allRows: rowsAsked(), rows: part, state, onSort: sortBy, onPick: pick });
    const range = rows.length > state.size ? `Models ${from + 1} to ${from + part.length} of ${rows.length}` : `${rows.length} of ${rowsAsked().length} models`;
    by("count").textContent = [range, ...hidden, ...columnsHidden()].join("; ") + "." + (overview || tried.size ? "" : nobody());
    drawPager(pages, rows.length);
    drawTray();
    if (overview?.tracks.length) { drawTrack(); drawPair(rows); }
    writeLink();
  }

  const nobody = () => ` No model has a figure of this task yet. To make one: assay run --model NAME --task ${state.task} --out out`;

  /** Which columns are not shown: their names, or how many where these would be a list that nobody reads. */
  function columnsHidden() {
    const names = off().map(nameOfColumn);
    if (!names.length) return [];
    return [names.length > 5 ? `${names.length} columns switched off, see Columns` : `columns switched off: ${names.join(", ")}`];
  }

  /** The tabs with how many models each track keeps, and what is said of the track that is shown. */
  function drawTrack() {
    const on = filters.filter((filter) => filter.on());
    document.querySelectorAll("[data-track]").forEach((tab) => {
      const rows = rowsOf(overview.tracks.find(({ id }) => id === tab.dataset.track));
      tab.setAttribute("aria-pressed", String(tab.dataset.track === state.track));
      tab.querySelector("small").textContent = rows.filter((row) => on.every(({ keeps }) => keeps(row))).length;
    });
    document.querySelectorAll("[data-of-track]").forEach((part) => { part.hidden = part.dataset.ofTrack !== state.track; });
  }

  function drawPair(rows) {
    const key = JSON.stringify([state.track, state.x, state.y, state.q, state.tier, state.paper]);
    if (key === pairShown) return;
    pairShown = key;
    const best = columns.length > 1 ? Scatter.bestPair(columns, rows) : { models: 0 };
    by("pair").hidden = best.models < 2 && !state.x && !state.y;
    if (by("pair").hidden) return;
    const [across, up] = [["x", best.across], ["y", best.up]].map(([axis, usual]) => {
      const chosen = columns.find((column) => column.key === (state[axis] || usual)) ?? columns[0];
      by(axis).replaceChildren(...columns.map((column) => element("option", { value: column.key, selected: column === chosen }, column.full)));
      return chosen;
    });
    Scatter.show(by("scatter"), by("scatter-says"), rows, across, up);
  }

  const nameOfColumn = (key) => { const column = everyColumn().find((one) => one.key === key); return column?.full ?? column?.label ?? key; };

  function drawPager(pages, count) {
    const go = (page) => change({ page }, true);
    const size = element("select", { id: "size", onchange: () => change({ size: Number(size.value), page: 0 }) },
      ...PAGE_SIZES.map((count) => element("option", { value: count, selected: count === state.size }, String(count))));
    by("pager").replaceChildren(
      element("button", { type: "button", class: "quiet", disabled: state.page === 0, onclick: () => go(state.page - 1) }, "Previous"),
      element("span", {}, `page ${state.page + 1} of ${pages}`),
      element("button", { type: "button", class: "quiet", disabled: state.page >= pages - 1, onclick: () => go(state.page + 1) }, "Next"),
      element("label", {}, "rows ", size));
    by("pager").hidden = count <= PAGE_SIZES[0];
  }

  function drawTray() {
    const names = state.compare.map((id) => models.find((model) => model.id === id).model);
    by("tray").hidden = names.length === 0;
    by("chosen").textContent = `${names.join(", ")}${names.length === 1 ? ": choose one to three more" : names.length === 4 ? " (four at most)" : ""}`;
    by("open-compare").disabled = names.length < 2;
  }

  function drawColumnMenu() {
    by("columns").querySelector("div").replaceChildren(...everyColumn().slice(1).map((column) => {
      const box = element("input", { type: "checkbox", onchange: () => change({
        hide: box.checked ? off().filter((key) => key !== column.key) : [...off(), column.key] }) });
      box.checked = !off().includes(column.key);
      return element("label", {}, box, " ", column.full ?? column.label);
    }));
  }

  async function drawCompare(focus = false) {
    const chosen = state.compare.map((id) => models.find((model) => model.id === id));
    by("compare").hidden = !(state.open && chosen.length >= 2);
    if (by("compare").hidden) return;
    const units = await Promise.all(chosen.map((model) => Page.data(`units/${model.id}`)));
    const outcomes = (model, column) => {
      const found = units[chosen.indexOf(model)][overview ? column.key : state.task];
      return found?.[overview ? column.ranking : column.key];
    };
    Compare.show(by("compare-body"), chosen, columns, outcomes);
    if (focus) { by("compare-title").focus(); by("compare").scrollIntoView(); }
  }

  // --- what the reader does -------------------------------------------------------------------------------------
  function change(changes, keepsPage = false) {
    state = { ...state, page: keepsPage ? state.page : 0, ...changes };
    draw();
  }

  function sortBy(column) {
    const again = state.sort === column.key;
    const firstDescending = !column.text && column.better !== "lower";
    change({ sort: column.key, desc: again ? !state.desc : firstDescending });
    by("board").tHead.querySelector(`[data-sort="${CSS.escape(column.key)}"]`).focus();
  }

  function pick(row) {
    const compare = state.compare.includes(row.id) ? state.compare.filter((id) => id !== row.id) : [...state.compare, row.id];
    change({ compare, open: state.open && compare.length >= 2 }, true);
    by("board").querySelector(`[data-id="${CSS.escape(row.id)}"]`).focus();
    drawCompare();
  }

  function csvOfWhatIsShown() {
    const quote = (value) => (/[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
    const shown = visible();
    const cell = (column, row) => {
      if (column.text) return column.text(row);
      const found = column.cell(row);
      return found === undefined ? "" : typeof found === "string" ? "not applicable" : String(found[0] ?? "");
    };
    const lines = [shown.map((column) => column.csv ?? column.key), ...ordered(kept().rows).map((row) => shown.map((column) => cell(column, row)))];
    const blob = new Blob([lines.map((line) => `${line.map(quote).join(",")}\n`).join("")], { type: "text/csv" });
    const link = element("a", { href: URL.createObjectURL(blob), download: "assay-shown.csv" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  async function refresh() {
    columns = overview ? overviewColumns() : await taskColumns();
    const crowded = overview ? withoutRoom(columns) : columns.slice(SHOWN);
    usuallyHidden = [...crowded.map(({ key }) => key), "tier", "paper", "licence"];
    const first = columns.find((column) => !crowded.includes(column));
    if (!state.sort && first) Object.assign(state, { sort: first.key, desc: first.better !== "lower" });
    drawColumnMenu();
    draw();
    await drawCompare();
  }

  async function follow() {
    state = readLink();
    for (const id of ["q", "tier", "paper", "task"]) if (by(id)) by(id).value = state[id];
    await refresh();
  }

  for (const paper of [...new Set(models.map((model) => model.paper))].sort()) by("paper").append(element("option", {}, paper));
  by("q").addEventListener("input", () => change({ q: by("q").value.trim() }));
  for (const id of ["tier", "paper"]) by(id).addEventListener("change", () => change({ [id]: by(id).value }));
  const goTo = (place) => { state = { ...state, ...place, hide: null, sort: "", x: "", y: "", page: 0 }; refresh(); };
  by("task")?.addEventListener("change", () => goTo({ task: by("task").value }));
  document.querySelectorAll("[data-track]").forEach((tab) => tab.addEventListener("click", () => goTo({ track: tab.dataset.track })));
  for (const axis of ["x", "y"]) by(axis)?.addEventListener("change", () => change({ [axis]: by(axis).value }, true));
  by("reset").addEventListener("click", () => { history.replaceState(null, "", location.pathname); follow(); });
  by("csv").addEventListener("click", csvOfWhatIsShown);
  by("open-compare").addEventListener("click", () => { change({ open: true }, true); drawCompare(true); });
  by("clear-compare").addEventListener("click", () => { change({ compare: [], open: false }, true); drawCompare(); });
  document.querySelector("form.controls").addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement.tagName)) { event.preventDefault(); by("q").focus(); }
    if (event.key === "Escape") document.querySelectorAll("details.menu[open]").forEach((menu) => { menu.open = false; menu.querySelector("summary").focus(); });
  });
  addEventListener("hashchange", follow);
  await follow();
  document.documentElement.dataset.ready = "1";
})();
