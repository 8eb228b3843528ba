// Starts what a page has: figures, tables, news, keys.
import { startCopy } from "./copy.js";
import { startKeys } from "./keys.js";
import { startNews } from "./news.js";
import { Panel } from "./panel.js";
import { startRuns } from "./runs.js";
import { startTheme } from "./theme-switch.js";

const panels = [...document.querySelectorAll("section.panel")].map((place) => new Panel(place));

startTheme(() => panels.forEach((panel) => panel.redraw()));
startKeys();
startCopy();
const refreshRuns = startRuns();

// A span of solve rates in the cloud of prompts is a filter of their table.
const byName = Object.fromEntries(panels.map((panel) => [panel.name, panel]));
if (byName.scatter && byName.prompts) {
  const rate = (value) => Math.min(1, Math.max(0, value)).toFixed(3);
  byName.scatter.onSpan = (span) => byName.prompts.choose(span ? { low: rate(span[0]), high: rate(span[1]) } : { low: "", high: "" });
}

const go = document.getElementById("go");
go?.addEventListener("submit", (event) => {
  event.preventDefault();
  const step = go.elements.step.value.trim();
  if (/^\d{1,15}$/.test(step)) location.href = `/run/${encodeURIComponent(go.dataset.run)}/step/${Number(step)}`;
});

// The back button gives the page the state that its address had.
addEventListener("popstate", () => panels.forEach((panel) => panel.readAddress()));

startNews((version) => {
  for (const panel of panels) panel.outdated(version);
  refreshRuns(version);
});
