// A table of any length: only the rows in sight are asked for and exist.
import { ask, make } from "./ask.js";
import { sparkline } from "./spark.js";
import { write } from "./words.js";

const ROW = 32, BLOCK = 100, KEPT = 30;
const LEADS = ["step", "group", "prompt"]; // where a link leads, by the name of its column
const TALLEST = 8_000_000; // browsers give no element more pixels than some ten millions

export class Table {
  constructor(panel) {
    this.panel = panel;
    this.place = panel.part(".table");
    this.blocks = new Map(); // rows by number of their hundred; undefined while they are asked for
    this.rows = new Map(); // what is on the page, by number of the row
    this.total = 0;
    this.isPaged = "paged" in panel.place.dataset;
    // The headings choose the order.
    for (const name of ["sort", "descending"]) this.choice(name)?.closest("label").setAttribute("hidden", "");
  }

  choice(name) { return this.panel.choices.find((each) => each.dataset.parameter === name); }

  readAddress() { this.first = 0; }

  toTop() { if (this.scroller) this.scroller.scrollTop = 0; }

  window() { return this.isPaged ? { offset: 0, limit: BLOCK } : {}; }

  show({ columns, rows, total }, isSame) {
    this.columns = columns;
    this.total = total;
    this.before = isSame ? this.blocks : null;
    this.blocks = new Map([[0, rows]]);
    this.token = {};
    if (!this.scroller) this.build();
    this.head();
    this.grid.setAttribute("aria-rowcount", total + 1);
    // A short table is as high as its rows are; a long one has the height of all it would have.
    this.height = (Math.min(total, TALLEST / ROW) + 1) * ROW;
    this.spacer.style.height = this.isPaged ? `${this.height}px` : "";
    this.scroller.classList.toggle("tall", this.isPaged);
    this.scroller.setAttribute("aria-label", `${this.panel.part("h2").textContent}: ${total.toLocaleString("en")} rows`);
    this.counter.textContent = `${total.toLocaleString("en")} ${total === 1 ? "row" : "rows"}`;
    this.paint();
  }

  build() {
    this.counter = make("p", "", "muted count");
    this.counter.setAttribute("role", "status");
    this.scroller = make("div", undefined, "scroll grid");
    this.scroller.tabIndex = 0;
    this.scroller.setAttribute("role", "region");
    this.spacer = make("div", undefined, "spacer");
    this.grid = make("table");
    this.thead = this.grid.createTHead();
    this.tbody = this.grid.createTBody();
    this.spacer.append(this.grid);
    this.scroller.append(this.spacer);
    this.place.append(this.counter, this.scroller);
    this.scroller.addEventListener("scroll", () => this.soon());
    new ResizeObserver(() => this.soon()).observe(this.scroller);
  }

  soon() {
    if (this.isSoon) return;
    this.isSoon = true;
    requestAnimationFrame(() => { this.isSoon = false; this.paint(); });
  }

  head() {
    const row = make("tr");
    for (const [key, title, kind] of this.columns) {
      const cell = make("th", undefined, isLeft(kind) ? "left" : "");
      cell.scope = "col";
      const options = [...(this.choice("sort")?.options ?? [])].map((each) => each.value);
      if (options.includes(key)) {
        const isNow = this.choice("sort").value === key;
        const falls = this.choice("descending")?.value === this.yes;
        const button = make("button", title + (isNow ? (falls ? " ↓" : " ↑") : ""), "plain");
        button.type = "button";
        button.dataset.key = key;
        button.addEventListener("click", () => this.sort(key));
        cell.setAttribute("aria-sort", isNow ? (falls ? "descending" : "ascending") : "none");
        cell.append(button);
      } else cell.textContent = title;
      row.append(cell);
    }
    const focused = this.thead.contains(document.activeElement) && document.activeElement.dataset.key;
    this.thead.replaceChildren(row);
    if (focused) row.querySelector(`[data-key="${focused}"]`)?.focus();
  }

  get yes() { return [...(this.choice("descending")?.options ?? [])].map((each) => each.value).find((each) => ["yes", "true"].includes(each)); }

  sort(key) {
    const by = this.choice("sort"), falls = this.choice("descending");
    if (falls) {
      const no = [...falls.options].map((each) => each.value).find((each) => each !== this.yes);
      falls.value = by.value === key && falls.value === this.yes ? no : this.yes;
    }
    by.value = key;
    this.panel.chosen();
  }

  // ---- rows in sight ----

  paint() {
    if (!this.columns) return;
    if (!this.isPaged) { this.fill(0, this.blocks.get(0).length); return; }
    const { scrollTop, clientHeight } = this.scroller;
    const seen = Math.ceil(clientHeight / ROW) + 2;
    // Where the table is taller than an element can be, a pixel of the bar stands for several rows.
    const full = Math.max(1, this.height - clientHeight);
    const most = Math.max(0, this.total - seen + 2);
    const isExact = this.total * ROW <= TALLEST;
    const first = Math.min(most, isExact ? Math.floor(scrollTop / ROW) : Math.round((scrollTop / full) * most));
    this.first = first;
    this.fill(first, Math.min(this.total, first + seen));
    // Padding, not a transform: the heading has to stick to the top.
    const above = isExact ? first * ROW : Math.min(scrollTop, this.height - (seen - 1) * ROW);
    this.spacer.style.paddingTop = `${Math.max(0, above)}px`;
  }

  fill(from, to) {
    const rows = new Map();
    for (let i = from; i < to; i++) {
      const number = this.isPaged ? Math.floor(i / BLOCK) : 0;
      if (!this.blocks.has(number)) this.fetch(number);
      // What was there before news came stays until the new rows are here.
      const cells = (this.blocks.get(number) ?? this.before?.get(number))?.[i - number * BLOCK];
      const old = this.rows.get(i);
      rows.set(i, old && old.cells === cells ? old : { cells, row: this.row(cells, i) });
    }
    // Rows that stay are not moved: one of them may have the focus.
    const kept = new Set([...rows.values()].map((each) => each.row));
    for (const row of [...this.tbody.rows]) if (!kept.has(row)) row.remove();
    let next = this.tbody.firstChild;
    for (const { row } of rows.values()) {
      if (row === next) next = next.nextSibling; else this.tbody.insertBefore(row, next);
    }
    this.rows = rows;
  }

  row(cells, i) {
    const row = make("tr");
    row.setAttribute("aria-rowindex", i + 2);
    for (const [c, [key, , kind]] of this.columns.entries()) {
      const cell = make("td", undefined, isLeft(kind) ? "left" : "");
      cell.dataset.key = key;
      if (cells) this.put(cell, key, kind, cells[c]); else if (c === 0) cell.textContent = "…";
      row.append(cell);
    }
    return row;
  }

  put(cell, key, kind, value) {
    if (kind === "sparkline") cell.append(sparkline(value ?? [], 90, 20));
    else if (kind === "link" && value) {
      const [text, ...ids] = value;
      const link = make("a", String(text));
      link.href = this.panel.address(LEADS.find((to) => key.includes(to)) ?? "prompt", ids);
      cell.append(link);
    } else if (kind === "spans" && value) {
      for (const [text, isDifferent] of value) cell.append(make(isDifferent ? "mark" : "span", text));
    } else cell.textContent = write(kind, value);
    if (isLeft(kind)) cell.title = cell.textContent;
  }

  async fetch(number) {
    const token = this.token;
    this.blocks.set(number, undefined);
    try {
      const query = this.panel.query({ offset: number * BLOCK, limit: BLOCK });
      const shown = await ask(`${this.panel.place.dataset.url}?${query}`);
      if (token !== this.token) return; // another order or filter by now
      this.blocks.set(number, shown.table.rows);
      for (const old of this.blocks.keys()) {
        if (this.blocks.size > KEPT && old !== number && this.blocks.get(old)) this.blocks.delete(old);
      }
      this.soon();
    } catch (error) {
      if (token === this.token) this.counter.textContent = error.message;
    }
  }
}

function isLeft(kind) { return kind === "text" || kind === "link" || kind === "spans"; }
