// The list of runs: each line is read when it is in sight; a filter; a choice to compare.
import { ask, make, say } from "./ask.js";
import { sparkline } from "./spark.js";
import { fraction, number, write } from "./words.js";

export function startRuns() {
  const form = document.getElementById("runs");
  let list = null;
  if (form) {
    list = new List(form);
  }
  return () => {
    if (document.body.dataset.topic !== "" || document.querySelector("section.panel")) return;
    if (!location.pathname.match(/^\/$/)) return;
    renew(list);
  };
}

/** The list itself has changed: take it from the server again. */
async function renew(list) {
  const answer = await fetch(location.pathname).catch(() => null);
  if (!answer?.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.querySelectorAll("#runs tbody tr");
  if (!list || !fresh.length) { if (fresh.length || list) location.reload(); return; }
  list.replace([...fresh]);
}

class List {
  constructor(form) {
    this.form = form;
    this.filter = form.querySelector("#filter");
    this.filter.value = new URLSearchParams(location.search).get("q") ?? "";
    this.filter.addEventListener("input", () => this.narrow());
    form.querySelector("#compare").addEventListener("click", (event) => {
      if (form.querySelectorAll("input[name=run]:checked").length < 2) {
        event.preventDefault();
        say(form.querySelector("#shown"), "Choose two runs or more.");
      }
    });
    this.sight = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) if (isIntersecting) this.read(target);
    }, { rootMargin: "300px" });
    this.narrow();
    this.rows.forEach((row) => this.sight.observe(row));
    setInterval(() => this.follow(), 2000);
  }

  get rows() { return [...this.form.querySelectorAll("tbody tr")]; }

  narrow() {
    const words = this.filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of this.rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    say(this.form.querySelector("#shown"), words.length ? `${shown} of ${this.rows.length}` : "");
    const query = new URLSearchParams(location.search);
    if (words.length) query.set("q", this.filter.value); else query.delete("q");
    history.replaceState(null, "", location.pathname + (query.size ? `?${query}` : ""));
  }

  /** Lines of runs that are being written are read again. */
  follow() {
    if (document.hidden) return;
    for (const row of this.rows) {
      const box = row.getBoundingClientRect();
      if (row.dataset.state === "running" && !row.hidden && box.bottom > 0 && box.top < innerHeight) this.read(row);
    }
  }

  replace(fresh) {
    const body = this.form.querySelector("tbody");
    const known = new Map(this.rows.map((row) => [row.dataset.run, row]));
    body.replaceChildren(...fresh.map((row) => {
      const old = known.get(row.dataset.run);
      return old && old.dataset.state === row.dataset.state ? old : document.adoptNode(row);
    }));
    this.rows.forEach((row) => this.sight.observe(row));
    this.narrow();
  }

  async read(row) {
    if (row.isReading) return;
    row.isReading = true;
    const cell = (name) => row.querySelector(`[data-cell=${name}]`);
    try {
      const line = await ask(`/data/runs/${encodeURIComponent(row.dataset.run)}`);
      say(cell("method"), line.method);
      say(cell("steps"), write("int", line.steps));
      say(cell("rollouts"), write("int", line.rollouts));
      curve(cell("split"), line.split, fraction, { low: 0, high: 1 });
      curve(cell("reward"), line.reward, number);
      row.dataset.read = "yes";
    } catch (error) {
      say(cell("method"), error.message);
    }
    row.isReading = false;
  }
}

function curve(cell, values, words, bounds = {}) {
  const known = values.filter((value) => value !== null);
  const last = known.length ? words(known.at(-1)) : "–";
  const label = known.length ? `from ${words(known[0])} to ${last}` : "nothing yet";
  cell.replaceChildren(sparkline(values, 90, 22, { ...bounds, label }), make("span", last, "last"));
}
