// Two to four models side by side: their figures, paired tests against the first, and their curves.
"use strict";
const Compare = (() => {
  const { element, breakable, figure, evidence } = Page;

  function shown(cell, { unit, sign }) {
    if (cell === undefined) return "not submitted";
    if (typeof cell === "string") return `n/a: ${cell}`;
    const [value, low, high] = cell;
    const known = `${value === null ? "" : sign ?? ""}${figure(value, unit)}`;
    return value === null || low === null || high === null ? known : `${known} (${figure(low, unit)} to ${figure(high, unit)})`;
  }

  const hasValue = (cell) => Array.isArray(cell) && cell[0] !== null;

  const pText = (p) => (p < 0.001 ? "p < 0.001" : `p = ${p.toFixed(3)}`);

  function testText(test, unit) {
    if (!test) return element("small", {}, "no test in this page; the command above has one");
    const scale = unit === "proportion" ? 100 : 1;
    const gap = `${test.difference > 0 ? "+" : ""}${Number((scale * test.difference).toPrecision(3))}${scale === 100 ? " % points" : ""}`;
    return element("small", { class: test.p < 0.05 ? "apart" : null, title: `${test.test}, N = ${test.n}, only the first ${test.onlyA}, only this one ${test.onlyB}` },
      `${gap} to the first; ${test.test}, ${pText(test.p)}`);
  }

  /** The table of figures; `outcomes` gives a model's numbers a unit for a column, or nothing. */
  function table(models, columns, outcomes) {
    const head = element("tr", {}, element("th", { scope: "col" }, "figure"),
      ...models.map((model) => element("th", { scope: "col" }, element("a", { href: `${Page.root}models/${model.id}.html` }, model.model))));
    const rows = columns.map((column) => {
      const first = outcomes(models[0], column);
      return element("tr", {}, element("th", { scope: "row" }, ...breakable(column.full ?? column.label), " ", evidence(column.evidence)),
        ...models.map((model, at) => element("td", {}, shown(column.cell(model), column), " ",
          at === 0 || !hasValue(column.cell(model)) || !hasValue(column.cell(models[0])) ? null
            : testText(Statistics.paired(outcomes(model, column), first), column.unit))));
    });
    return element("div", { class: "scroll", role: "region", "aria-label": "Figures side by side", tabindex: "0" },
      element("table", { id: "compare-table" }, element("thead", {}, head), element("tbody", {}, ...rows)));
  }

  /** One chart per series, one line per model, with error bars. */
  function curves(models, columns) {
    const series = new Map();
    for (const column of columns.filter(({ metric }) => metric && metric.series !== null && metric.x !== null)) {
      const name = column.metric.series;
      series.set(name, [...(series.get(name) ?? []), column]);
    }
    const figures = [...series].filter(([, points]) => points.length > 1).map(([name, points]) => {
      const place = element("div", { class: "chart small", role: "img", "aria-label": `${name} of ${models.map(({ model }) => model).join(", ")}; the figures are in the table below` });
      const figure_ = element("figure", {}, place, element("figcaption", {}, name));
      Charts.drawInView(place, () => chart(models, points));
      return figure_;
    });
    return element("div", { class: "charts" }, ...figures);
  }

  function chart(models, points) {
    const ordered = [...points].sort((a, b) => a.metric.x - b.metric.x);
    const data = models.map((model) => {
      const cells = ordered.map((point) => point.cell(model)).map((cell) => (Array.isArray(cell) ? cell : [null, null, null]));
      return {
        type: "scatter", mode: "lines+markers", name: model.model,
        x: ordered.map(({ metric }) => metric.x), y: cells.map(([value]) => value),
        error_y: {
          type: "data", symmetric: false, thickness: 1,
          array: cells.map(([value, , high]) => (high === null ? 0 : high - value)),
          arrayminus: cells.map(([value, low]) => (low === null ? 0 : value - low)),
        },
      };
    });
    const proportion = ordered[0].unit === "proportion";
    return { data, layout: {
      xaxis: { title: { text: ordered[0].metric.x_label ?? "" } },
      yaxis: proportion ? { range: [-0.02, 1.02], tickformat: ".0%" } : {},
      legend: { orientation: "h", y: 1.02, yanchor: "bottom" }, margin: { t: 56, r: 10, b: 50, l: 50 },
    } };
  }

  function show(place, models, columns, outcomes) {
    place.replaceChildren(
      element("p", {}, element("b", {}, "A preview. "), "The tests below are computed in this page, with other random draws than the program's. To cite one: "),
      ...models.slice(1).map((model) => element("p", { class: "command" }, element("code", {}, `assay compare leaderboard/submissions/${models[0].id} leaderboard/submissions/${model.id}`))),
      element("p", {}, "Figures with their 95 % intervals; the small line compares a model with the first one unit by unit: ",
        "McNemar's exact test where units are right or wrong, sign flips (a permutation test) where they have scores. ",
        "p is of one test alone: of twenty that compare equals, one falls below 0.05."),
      curves(models, columns), table(models, columns, outcomes));
  }

  return { show, pText };
})();
