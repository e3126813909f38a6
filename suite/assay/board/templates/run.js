// Charts stand in the page as data, which no browser runs; each is drawn when nothing hides it any more.
const waiting = new Set(document.querySelectorAll("script[type='application/json']"));
const drawShown = () => {
  for (const data of waiting) {
    if (data.closest("details:not([open])")) continue;
    waiting.delete(data);
    const chart = JSON.parse(data.textContent);
    const layout = { ...chart.layout, autosize: true, width: undefined, height: undefined };
    Plotly.newPlot(data.previousElementSibling, chart.data, layout, { responsive: true, displaylogo: false, displayModeBar: false });
  }
};
document.addEventListener("toggle", drawShown, true);
drawShown();

// A link into a folded family unfolds it; the list of contents marks what is in sight.
const unfold = () => {
  const part = document.getElementById(location.hash.slice(1));
  const fold = part && part.closest("details");
  if (fold && !fold.open) { fold.open = true; part.scrollIntoView(); }
};
addEventListener("hashchange", unfold);
unfold();
const links = new Map([...document.querySelectorAll(".contents a")].map((link) => [link.hash.slice(1), link]));
const inSight = new Set();
const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) inSight[entry.isIntersecting ? "add" : "delete"](entry.target.id);
  const first = [...links.keys()].find((id) => inSight.has(id));
  for (const [id, link] of links) {
    if (id === first) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}, { rootMargin: "-64px 0px -50% 0px" });
for (const id of links.keys()) watcher.observe(document.getElementById(id));
