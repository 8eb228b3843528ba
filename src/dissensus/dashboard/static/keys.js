// Keys: the next and previous split group or step, the filter, the theme, and a list of these.
const KEYS = [
  ["n or →", "next split group, or next step", () => follow("next")],
  ["p or ←", "previous split group, or previous step", () => follow("prev")],
  ["u", "up: from a group to its step, from a step to the run", () => follow("up")],
  ["/", "filter; Esc leaves it", () => document.querySelector("main input[type=search]")?.focus()],
  ["t", "light or dark", () => document.getElementById("theme").click()],
  ["r", "all runs", () => { location.href = "/"; }],
  ["?", "these keys", showHelp],
];
const BY_KEY = new Map(KEYS.flatMap(([names, , action]) => names.split(" or ").map((name) => [name, action])));
const ARROWS = { ArrowRight: "→", ArrowLeft: "←" };

function follow(relation) {
  const link = document.querySelector(`a[rel~=${relation}]`);
  if (link) location.href = link.href;
}

function showHelp() {
  const help = document.getElementById("help");
  if (!help.open) help.showModal();
}

export function startKeys() {
  const list = document.querySelector("#help dl");
  for (const [names, meaning] of KEYS) {
    const term = document.createElement("dt"), said = document.createElement("dd");
    term.textContent = names;
    said.textContent = meaning;
    list.append(term, said);
  }
  const button = document.getElementById("keys");
  button.hidden = false;
  button.addEventListener("click", showHelp);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.getElementById("help").open) return;
    const at = event.target;
    if (at.closest?.("input, select, textarea")) {
      if (event.key === "Escape") at.blur();
      return;
    }
    // Arrows scroll what can be scrolled sideways.
    if (event.key in ARROWS && at.closest?.(".scroll, .plot")) return;
    const action = BY_KEY.get(ARROWS[event.key] ?? event.key);
    if (!action) return;
    event.preventDefault();
    action();
  });
}
