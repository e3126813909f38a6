// Charts, each drawn when it comes into view (Plotly is loaded with the first), in the page's own colours.
"use strict";
const Charts = (() => {
  const COLOURS = ["#0b6bcb", "#c2410c", "#15803d", "#9333ea", "#be185d", "#0f766e", "#946200", "#4b5563"];
  const DARK_COLOURS = ["#6cb6ff", "#ffa657", "#7ee787", "#d2a8ff", "#ff8fc7", "#56d4c9", "#e3c341", "#b1bac4"];
  const drawn = new Map();

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const isDark = () => getComputedStyle(document.documentElement).getPropertyValue("--is-dark").trim() === "1";

  function themed(layout) {
    const axis = { gridcolor: colour("--line"), zerolinecolor: colour("--line"), linecolor: colour("--line"), automargin: true };
    const axes = Object.fromEntries(Object.keys({ xaxis: 0, yaxis: 0, ...layout })
      .filter((key) => /^[xy]axis\d*$/.test(key)).map((key) => [key, { ...axis, ...layout[key] }]));
    return {
      margin: { t: 30, r: 10, b: 50, l: 60 }, ...layout, ...axes, template: null,
      colorway: isDark() ? DARK_COLOURS : COLOURS,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: "system-ui, sans-serif", color: colour("--ink") },
    };
  }

  async function draw(place, chart) {
    drawn.set(place, chart);
    await Page.script("assets/plotly.min.js");
    const options = { responsive: true, displaylogo: false, displayModeBar: false };
    await window.Plotly.react(place, structuredClone(chart.data), themed(chart.layout ?? {}), options);
  }

  const waiting = new WeakMap();
  const watcher = new IntersectionObserver((entries) => {
    for (const { target } of entries.filter(({ isIntersecting }) => isIntersecting)) {
      watcher.unobserve(target);
      Promise.resolve(waiting.get(target)()).then((chart) => draw(target, chart));
    }
  }, { rootMargin: "200px" });

  /** Draw a chart once its place comes into view; `make` gives it, or a promise of it. */
  function drawInView(place, make) {
    waiting.set(place, make);
    watcher.observe(place);
  }

  document.addEventListener("assay:theme", () => drawn.forEach((chart, place) => {
    if (place.isConnected) draw(place, chart); else drawn.delete(place);
  }));

  return { drawInView };
})();
