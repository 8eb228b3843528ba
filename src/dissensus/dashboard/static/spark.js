// A small curve without axes.
const SVG = "http://www.w3.org/2000/svg";

export function sparkline(values, width, height, { low, high, label } = {}) {
  const picture = document.createElementNS(SVG, "svg");
  const known = values.filter((value) => value !== null);
  picture.setAttribute("width", width);
  picture.setAttribute("height", height);
  picture.setAttribute("class", "spark");
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", label ?? (known.length ? `from ${known[0]} to ${known.at(-1)}` : "nothing yet"));
  if (!known.length) return picture;
  const bottom = low ?? Math.min(...known), top = high ?? Math.max(...known);
  const x = (i) => (values.length < 2 ? width / 2 : 1 + (i / (values.length - 1)) * (width - 2));
  const y = (value) => height - 2 - ((value - bottom) / (top - bottom || 1)) * (height - 4);
  let path = "", isDown = false;
  values.forEach((value, i) => {
    if (value === null) { isDown = false; return; }
    path += `${isDown ? "L" : "M"}${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
    isDown = true;
  });
  if (known.length === 1) path += "h.1";
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("d", path);
  picture.append(line);
  return picture;
}
