// Starts what a page has: figures, tables, news, keys.
import { ask, say } from "./ask.js";
import { startCopy } from "./copy.js";
import { startKeys } from "./keys.js";
import { startNews } from "./news.js";
import { Panel } from "./panel.js";
import { startRuns } from "./runs.js";
import { startTheme } from "./theme-switch.js";
import { write } from "./words.js";

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

/** State and step at the top of a page about one run. */
async function renewHead() {
  const run = document.querySelector("[data-head-of]")?.dataset.headOf;
  if (run === undefined) return;
  const line = await ask(`/data/runs/${encodeURIComponent(run)}`).catch(() => null);
  if (!line) return;
  const state = document.querySelector("[data-head=state]");
  state.className = `state ${line.state}`;
  say(state, line.state);
  say(document.querySelector("[data-head=step]"), write("int", line.step));
}

startNews((version) => {
  renewHead();
  for (const panel of panels) panel.outdated(version);
  refreshRuns(version);
});
