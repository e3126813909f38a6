// What every page needs: scripts loaded on demand (a page opened as a file can load nothing else) and small helpers.
"use strict";
window.ASSAY ??= {};
const Page = (() => {
  const root = document.body.dataset.root;
  const waiting = new Map();

  function script(source) {
    if (!waiting.has(source)) {
      waiting.set(source, new Promise((resolve, reject) => {
        const element = document.createElement("script");
        element.src = root + source;
        element.onload = resolve;
        element.onerror = () => reject(new Error(`${source} is missing`));
        document.head.append(element);
      }));
    }
    return waiting.get(source);
  }

  /** The data that `data/KEY.js` hands over. */
  async function data(key) {
    if (!(key in window.ASSAY)) await script(`data/${key}.js`);
    return window.ASSAY[key];
  }

  /** An element with attributes and children; text is never read as markup. */
  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else if (value !== null && value !== false) made.setAttribute(key, value === true ? "" : value);
    }
    made.append(...children.filter((child) => child !== null && child !== undefined));
    return made;
  }

  /** A long name's pieces, between which a line may end: `worst:robust_accuracy@1/255` has no space of its own. */
  const breakable = (name) => name.split(/(?<=[:_@+])/).flatMap((piece, at) => (at ? [document.createElement("wbr"), piece] : [piece]));

  /** A figure as a reader writes it: percent for proportions, `digits` significant ones otherwise. */
  function figure(value, unit, digits = 4) {
    if (value === null || value === undefined) return "–";
    return unit === "proportion" ? (100 * value).toFixed(1) : String(Number(value.toPrecision(digits)));
  }

  const EVIDENCE = {
    proved: "proved: it holds for every change in the range",
    found: "found by an attack or a search: the worst of the changes that were tried, so the true figure is no better",
  };

  /** How a figure is known, as a mark: proved, or found; nothing where it is only measured. */
  const evidence = (word) => (word ? element("span", { class: `evidence ${word}`, title: EVIDENCE[word] }, word) : null);

  return { root, script, data, element, breakable, figure, evidence };
})();
