// Light or dark: the system's choice until the reader makes one. Loaded in the head, so that nothing flashes.
"use strict";
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const remembered = () => { try { return localStorage.getItem("assay-theme"); } catch { return null; } };
  const isDark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";

  const show = () => {
    const button = document.getElementById("theme");
    if (button) button.setAttribute("aria-pressed", String(isDark()));
    document.dispatchEvent(new CustomEvent("assay:theme"));
  };

  const stored = remembered();
  if (stored) root.dataset.theme = stored;
  document.addEventListener("DOMContentLoaded", () => {
    show();
    document.getElementById("theme").addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      try { localStorage.setItem("assay-theme", root.dataset.theme); } catch { /* a page without storage forgets */ }
      show();
    });
    system.addEventListener("change", show);
  });
})();
