// A view on a page: asks for its numbers when it is in sight, draws them, and follows the reader's choices.
import { drawFigure } from "./figure.js";
import { Table } from "./table.js";
import { ask, say } from "./ask.js";

const sight = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const panel = entry.target.panel;
    panel.isInSight = entry.isIntersecting;
    if (entry.isIntersecting) panel.load();
  }
}, { rootMargin: "200px" });

export class Panel {
  constructor(place) {
    this.place = place;
    this.name = place.dataset.view;
    this.isInSight = false;
    this.loaded = null; // the address of what is shown, with its theme
    this.isOld = false;
    this.endedMs = this.tookMs = 0;
    this.part = (selector) => place.querySelector(selector);
    this.choices = [...place.querySelectorAll("[data-parameter]")];
    this.table = new Table(this);
    this.readAddress();
    for (const choice of this.choices) {
      choice.addEventListener("change", () => this.chosen());
      if (choice.type === "search") choice.addEventListener("input", () => this.typed());
    }
    this.part("[data-do=python]")?.addEventListener("click", (event) => this.copy(event.target));
    place.panel = this;
    sight.observe(place);
  }

  // ---- what is asked for ----

  get prefix() { return `${this.name}.`; }

  /** Take the reader's choices from the page's address. */
  readAddress() {
    const query = new URLSearchParams(location.search);
    for (const choice of this.choices) {
      const value = query.get(this.prefix + choice.dataset.parameter) ?? choice.dataset.default;
      if (choice.value !== value) choice.value = value;
    }
    this.table.readAddress(query);
    this.load();
  }

  /** A text is not asked for at every letter, and is one step of the back button. */
  typed() {
    clearTimeout(this.pause);
    this.pause = setTimeout(() => this.chosen("replaceState"), 350);
  }

  /** Put the reader's choices into the page's address. */
  chosen(how = "pushState") {
    clearTimeout(this.pause);
    const query = new URLSearchParams(location.search);
    const put = (name, value, usual) => {
      if (value === usual) query.delete(this.prefix + name); else query.set(this.prefix + name, value);
    };
    for (const choice of this.choices) put(choice.dataset.parameter, choice.value, choice.dataset.default);
    const text = query.toString();
    const to = location.pathname + (text && `?${text}`) + location.hash;
    if (to !== location.pathname + location.search + location.hash) history[how](null, "", to);
    this.table.toTop();
    this.load();
  }

  /** The query of this view, and for a part of a table its first row and its length. */
  query(more = {}) {
    const query = new URLSearchParams(this.place.dataset.fixed);
    for (const choice of this.choices) {
      if (choice.value !== choice.dataset.default) query.set(choice.dataset.parameter, choice.value);
    }
    for (const [name, value] of Object.entries(more)) query.set(name, value);
    return query;
  }

  // ---- loading ----

  /** News: what is shown is of an older version. A slow view waits longer; it holds up no other. */
  outdated() {
    this.isOld = true;
    clearTimeout(this.later);
    this.later = setTimeout(() => this.load(), Math.max(0, this.endedMs + 2 * this.tookMs - performance.now()));
  }

  redraw() { this.load(); }

  async load() {
    if (!this.isInSight) return;
    const query = this.query(this.table.window());
    const link = this.part("[data-do=csv]");
    const plain = this.query();
    if (link) link.href = `${link.dataset.csv}?${plain}`;
    query.set("theme", document.documentElement.dataset.theme);
    const address = `${this.place.dataset.url}?${query}`;
    if (address === this.loaded && !this.isOld) return;
    if (address === this.asking) { this.again = this.isOld; return; }
    this.asking = address;
    this.isOld = false;
    const began = performance.now();
    try {
      const shown = await ask(address);
      this.endedMs = performance.now();
      this.tookMs = this.loaded === null ? 0 : this.endedMs - began; // the first time everything is slow
      if (this.asking !== address) return; // the reader has chosen otherwise meanwhile
      const isSame = this.loaded === address;
      this.loaded = address;
      await this.show(shown, isSame);
    } catch (error) {
      if (this.asking !== address) return;
      this.loaded = null;
      this.fail(error.message);
    } finally {
      if (this.asking === address) this.asking = null;
    }
    if (this.again) { this.again = false; this.isOld = true; this.load(); }
  }

  async show(shown, isSame) {
    this.python = shown.python;
    this.part("[data-do=python]")?.removeAttribute("disabled");
    this.part(".wait").hidden = true;
    say(this.part(".note"), shown.note);
    this.part(".note").classList.toggle("absent", !shown.figure && !shown.table);
    const plot = this.part(".plot");
    plot.hidden = !shown.figure;
    if (shown.figure) await drawFigure(plot, shown.figure, (ids) => this.follow(ids), (span) => this.onSpan?.(span));
    this.besides(shown.more);
    this.part(".table").hidden = !shown.table;
    if (shown.table) this.table.show(shown.table, isSame);
    this.place.dataset.drawn = document.documentElement.dataset.theme;
    this.place.dataset.version = shown.version;
  }

  /** What a view says besides its figure and table stands elsewhere on the page. */
  besides(more) {
    for (const place of document.querySelectorAll("[data-more]")) {
      const text = more[place.dataset.more];
      place.hidden = text === undefined;
      if (place.parentElement.matches("p")) place.parentElement.hidden = place.hidden; // with its words
      say(place, text ?? "");
    }
    for (const link of document.querySelectorAll("[data-step]")) {
      const step = more[link.dataset.step];
      link.hidden = !Number.isInteger(step);
      if (!link.hidden) link.href = this.address("step", [step]);
    }
  }

  /** Choose as if the reader had: by a zoom into a figure that belongs to this view. */
  choose(values) {
    let isNew = false;
    for (const choice of this.choices) {
      const value = values[choice.dataset.parameter];
      if (value === undefined || choice.value === value) continue;
      choice.value = value;
      isNew = true;
    }
    if (isNew) this.chosen();
  }

  fail(text) {
    const wait = this.part(".wait");
    wait.hidden = false;
    say(wait, `${text} `);
    const again = document.createElement("button");
    again.type = "button";
    again.textContent = "Try again";
    again.addEventListener("click", () => { say(wait, "Reading …"); this.loaded = null; this.load(); });
    wait.append(again);
  }

  // ---- leading on ----

  /** Where a step, a prompt or a group is shown; a group is named by its id and its generation. */
  address(to, [id, generation]) {
    const run = `/run/${encodeURIComponent(this.run)}`;
    if (to === "step") return `${run}/step/${encodeURIComponent(id)}`;
    const query = new URLSearchParams({ [`${to}_id`]: id });
    if (to === "group" && generation !== undefined) query.set("generation", generation);
    return `${run}/${to}?${query}`;
  }

  get run() { return decodeURIComponent(this.place.dataset.url.split("/")[3] ?? ""); }

  follow(ids) {
    const to = this.place.dataset.click;
    if (to && ids.length && ids[0] !== null) location.href = this.address(to, ids);
  }

  async copy(button) {
    try {
      await navigator.clipboard.writeText(this.python);
      say(button, "Copied");
    } catch {
      this.showPython(this.python); // a page that is not on this machine may not touch the clipboard
    }
    setTimeout(() => say(button, "Copy as Python"), 1500);
  }

  showPython(text) {
    let area = this.part("textarea.python");
    if (!area) {
      area = document.createElement("textarea");
      area.className = "python";
      area.readOnly = true;
      area.rows = 6;
      area.setAttribute("aria-label", "Python");
      this.part(".bar").after(area);
    }
    area.value = text;
    area.select();
  }
}
