// Two headlines of a track against each other; the models that no other beats in both are marked.
"use strict";
const Scatter = (() => {
  const { figure } = Page;
  const NAMED = 12;  // more names would lie on each other
  const [NARROW, FEW_NAMED] = [480, 4];  // pixels, and how many names such a chart has room for

  const hasValue = (cell) => Array.isArray(cell) && cell[0] !== null;

  /** The models with both figures: `{ row, x, y }`, each a cell. */
  const pairs = (rows, across, up) => rows
    .map((row) => ({ row, x: across.cell(row), y: up.cell(row) }))
    .filter(({ x, y }) => hasValue(x) && hasValue(y));

  /** For each point whether no other is at least as good in both and better in one. */
  function undominated(points, across, up) {
    const sign = (column) => (column.better === "lower" ? -1 : 1);
    const placed = points.map(({ x, y }) => [sign(across) * x[0], sign(up) * y[0]]);
    return placed.map(([x, y]) => !placed.some(([a, b]) => a >= x && b >= y && (a > x || b > y)));
  }

  /** The two columns that most models have both figures of, the first two where none have, and how many have. */
  function bestPair(columns, rows) {
    let best = [columns[0], columns[1] ?? columns[0], 0];
    columns.forEach((across, at) => columns.slice(at + 1).forEach((up) => {
      const count = pairs(rows, across, up).length;
      if (count > best[2]) best = [across, up, count];
    }));
    return { across: best[0].key, up: best[1].key, models: best[2] };
  }

  const scale = (column) => (column.unit === "proportion" ? 100 : 1);
  const named = (column) => [column.label, column.note, column.evidence].filter(Boolean).join(", ");

  function bars(cells, factor) {
    return {
      type: "data", symmetric: false, thickness: 1,
      array: cells.map(([value, , high]) => (high === null ? 0 : factor * (high - value))),
      arrayminus: cells.map(([value, low]) => (low === null ? 0 : factor * (value - low))),
    };
  }

  /** Where each name stands: at the right end on the left, so that it is not cut off; neighbours above and below by turns. */
  function namedAt(points) {
    const ends = points.flatMap(({ x: [value, low, high] }) => [low ?? value, high ?? value]);
    const far = 0.35 * Math.min(...ends) + 0.65 * Math.max(...ends);
    const y = points.map(({ y: [value] }) => value);
    const rank = new Map([...y.keys()].sort((one, other) => y[one] - y[other]).map((at, place) => [at, place]));
    return points.map(({ x }, at) => `${rank.get(at) % 2 ? "top" : "bottom"} ${x[0] > far ? "left" : "right"}`);
  }

  function trace(points, across, up, look) {
    const [a, b] = [scale(across), scale(up)];
    return {
      type: "scatter", name: look.name, x: points.map(({ x }) => a * x[0]), y: points.map(({ y }) => b * y[0]),
      error_x: bars(points.map(({ x }) => x), a), error_y: bars(points.map(({ y }) => y), b),
      mode: look.text ? "markers+text" : "markers", text: points.map(({ row }) => row.model), textposition: look.text ? points.map((point) => look.places.get(point)) : "top right",
      hovertemplate: "%{text}<br>%{x:.4g}, %{y:.4g}<extra></extra>", marker: { size: look.size, symbol: look.symbol },
    };
  }

  function chart(points, across, up, most) {
    const free = undominated(points, across, up);
    const best = points.filter((_, at) => free[at]);
    const rest = points.filter((_, at) => !free[at]);
    const places = new Map(namedAt(points).map((place, at) => [points[at], place]));
    const data = [
      trace(best, across, up, { name: "undominated", symbol: "diamond", size: 11, text: best.length <= most, places }),
      trace(rest, across, up, { name: "dominated", symbol: "circle-open", size: 8, text: points.length <= most, places }),
    ].filter(({ x }) => x.length);
    return { data, layout: {
      xaxis: { title: { text: named(across) } }, yaxis: { title: { text: named(up) } }, showlegend: true,
      legend: { orientation: "h", y: 1.02, yanchor: "bottom" }, margin: { t: 56, r: 20, b: 50, l: 60 },
    } };
  }

  /** What the chart shows, as a sentence. */
  function words(points, across, up) {
    if (points.length < 2) return "No two models have both figures yet.";
    const free = undominated(points, across, up);
    const list = points.filter((_, at) => free[at])
      .map(({ row, x, y }) => `${row.model} (${figure(x[0], across.unit)}, ${figure(y[0], up.unit)})`);
    const shown = list.length > NAMED ? `${list.slice(0, NAMED).join("; ")}; and ${list.length - NAMED} more` : list.join("; ");
    return `${points.length} models have both figures. Undominated, that is, no other is at least as good in both and better in one: ${shown}. Bars are 95 % intervals, which the comparison does not use.`;
  }

  function show(place, caption, rows, across, up) {
    const points = pairs(rows, across, up);
    caption.textContent = words(points, across, up);
    place.hidden = points.length < 2;
    if (place.hidden) return;
    place.setAttribute("aria-label", `${named(across)} against ${named(up)}. ${caption.textContent}`);
    Charts.drawInView(place, () => chart(points, across, up, place.clientWidth < NARROW ? FEW_NAMED : NAMED));
  }

  return { show, bestPair, undominated, namedAt };
})();
