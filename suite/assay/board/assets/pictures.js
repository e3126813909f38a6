// A model's charts, each drawn when it comes into view.
"use strict";
(() => {
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries.filter(({ isIntersecting }) => isIntersecting)) {
      watcher.unobserve(entry.target);
      Page.data(entry.target.dataset.chart).then((chart) => Charts.draw(entry.target, chart));
    }
  }, { rootMargin: "200px" });
  document.querySelectorAll("[data-chart]").forEach((place) => watcher.observe(place));
})();
