// Runs before anything is drawn, so that a page does not flash in the other theme.
"use strict";
(() => {
  const chosen = (() => {
    try { return localStorage.getItem("dissensus-theme"); } catch { return null; }
  })();
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  document.documentElement.dataset.theme = chosen === "dark" || chosen === "light" ? chosen : system;
})();
