// Drawing with plotly.js. It is large: the page asks for its numbers while the browser still reads it.
const script = document.getElementById("plotly");
const ready = window.Plotly || !script ? Promise.resolve() : new Promise((done) => {
  for (const end of ["load", "error"]) script.addEventListener(end, done);
});

const CONFIG = { responsive: true, displaylogo: false, displayModeBar: false };

// On a narrow screen the legend takes several rows: give it the height it needs.
function fit(layout, width) {
  if (width >= 560) return layout;
  const legend = { ...layout.legend, font: { size: 11 } };
  const yaxis = { ...layout.yaxis, title: undefined };
  return { ...layout, legend, yaxis, height: (layout.height ?? 380) + 40, font: { ...layout.font, size: 12 } };
}

export async function drawFigure(place, figure, onPoint, onSpan) {
  await ready;
  if (!window.Plotly) { place.textContent = "plotly.js could not be read."; return; }
  const layout = { ...fit(figure.layout, place.clientWidth), uirevision: "kept" }; // a zoom outlives news
  Plotly.react(place, figure.data, layout, CONFIG);
  if (place.isListening) return;
  place.isListening = true;
  place.on("plotly_click", (event) => {
    const data = event.points?.find((point) => point.customdata !== undefined)?.customdata;
    if (data !== undefined) onPoint([data].flat());
  });
  place.on("plotly_relayout", (change) => {
    if ("xaxis.range[0]" in change) onSpan([change["xaxis.range[0]"], change["xaxis.range[1]"]]);
    else if (change["xaxis.autorange"] || "xaxis.range" in change) onSpan(null);
  });
}
