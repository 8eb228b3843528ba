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
    this.part = (selector) => place.querySelector(selector);
    this.choices = [...place.querySelectorAll("[data-parameter]")];
    this.table = new Table(this);
    this.readAddress();
    for (const choice of this.choices) choice.addEventListener("change", () => this.chosen());
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

  /** Put the reader's choices into the page's address. */
  chosen() {
    const query = new URLSearchParams(location.search);
    const put = (name, value, usual) => {
      if (value === usual) query.delete(this.prefix + name); else query.set(this.prefix + name, value);
    };
    for (const choice of this.choices) put(choice.dataset.parameter, choice.value, choice.dataset.default);
    const text = query.toString();
    history.pushState(null, "", location.pathname + (text && `?${text}`) + location.hash);
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

  /** News: what is shown is of an older version. */
  outdated() {
    this.isOld = true;
    this.load();
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
      if (this.asking !== address) return; // the reader has chosen otherwise meanwhile
      this.loaded = address;
      this.show(shown);
    } catch (error) {
      if (this.asking !== address) return;
      this.fail(error.message);
    } finally {
      if (this.asking === address) this.asking = null;
      this.tookMs = performance.now() - began;
    }
    if (this.again) { this.again = false; this.isOld = true; this.load(); }
  }

  show(shown) {
    this.python = shown.python;
    this.part(".wait").hidden = true;
    say(this.part(".note"), shown.note);
    this.part(".note").classList.toggle("absent", !shown.figure && !shown.table);
    const plot = this.part(".plot");
    plot.hidden = !shown.figure;
    if (shown.figure) drawFigure(plot, shown.figure, (id) => this.follow(id));
    this.part(".table").hidden = !shown.table;
    if (shown.table) this.table.show(shown.table);
    this.place.dataset.drawn = document.documentElement.dataset.theme;
    this.place.dataset.version = shown.version;
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

  address(to, id) {
    const run = `/run/${encodeURIComponent(this.run)}`;
    return to === "step" ? `${run}/step/${encodeURIComponent(id)}` : `${run}/${to}?${new URLSearchParams({ [to]: id })}`;
  }

  get run() { return decodeURIComponent(this.place.dataset.url.split("/")[3] ?? ""); }

  follow(id) {
    const to = this.place.dataset.click;
    if (to && id !== undefined && id !== null) location.href = this.address(to, id);
  }

  async copy(button) {
    const text = this.python ?? "";
    try {
      await navigator.clipboard.writeText(text);
      say(button, "Copied");
    } catch {
      this.showPython(text); // a page that is not on this machine may not touch the clipboard
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
