// Starts what a page has: figures, tables, news, keys.
import { startCompletions } from "./group.js";
import { startKeys } from "./keys.js";
import { startNews } from "./news.js";
import { Panel } from "./panel.js";
import { startRuns } from "./runs.js";
import { startTheme } from "./theme-switch.js";

const panels = [...document.querySelectorAll("section.panel")].map((place) => new Panel(place));

startTheme(() => panels.forEach((panel) => panel.redraw()));
startKeys();
startCompletions();
const refreshRuns = startRuns();

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
