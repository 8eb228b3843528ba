"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const figures = read("figures");
  const darkOf = read("colours");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const config = { responsive: true, displaylogo: false, displayModeBar: false };

  const recolour = (value) => {
    if (typeof value === "string") {
      return value.replace(/#[0-9a-f]{6}/g, (colour) => darkOf[colour] ?? colour);
    }
    if (Array.isArray(value)) return value.map(recolour);
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, v]) => [key, recolour(v)]));
    }
    return value;
  };

  // On a narrow screen the legend takes several rows: give it the height it needs.
  const fit = (layout, width) => {
    if (width >= 560) return layout;
    const legend = { ...layout.legend, font: { size: 11 } };
    const yaxis = { ...layout.yaxis, title: undefined };
    return { ...layout, legend, yaxis, height: layout.height + 40, font: { ...layout.font, size: 12 } };
  };

  // A figure that comes in several forms has a list to choose one from.
  const lists = document.querySelectorAll("select[data-plot]");
  const chosen = (name) => [...lists].find((list) => list.dataset.plot === name)?.value ?? name;

  const draw = () => {
    for (const place of document.querySelectorAll(".plot")) {
      const figure = figures[chosen(place.id.slice("plot-".length))];
      const { data, layout } = dark.matches ? recolour(figure) : structuredClone(figure);
      Plotly.react(place, data, fit(layout, place.clientWidth), config);
    }
    document.documentElement.dataset.drawn = dark.matches ? "dark" : "light";
  };

  draw();
  dark.addEventListener("change", draw);
  for (const list of lists) list.addEventListener("change", draw);
})();
