// What a number looks like: the rules of the report (views/format.py), for tables made here.
const UNKNOWN = "–";

export function write(kind, value) {
  if (value === null || value === undefined) return UNKNOWN;
  if (kind === "int") return Math.round(value).toLocaleString("en");
  if (kind === "frac") return fraction(value);
  if (kind === "number") return number(value);
  return String(value);
}

export function fraction(value) {
  const percent = 100 * value;
  const places = Math.abs(percent) < 9.95 ? 1 : 0;
  const smallest = 10 ** -places;
  if (percent === 0 || (-smallest / 2 < percent && percent < 0)) return "0 %";
  if (percent > 0 && percent < smallest / 2) return `<${smallest.toFixed(places)} %`;
  if (percent >= 100 - smallest / 2 && percent < 100) return `>${(100 - smallest).toFixed(places)} %`;
  return `${percent.toFixed(places)} %`;
}

export function number(value) {
  const size = Math.abs(value);
  let text;
  if (size >= 1000) text = Math.round(size).toLocaleString("en");
  else if (size === 0 || size >= 1e-4) text = size.toFixed(Math.max(0, 2 - (size === 0 ? 0 : Math.floor(Math.log10(size)))));
  else text = size.toExponential(2).replace(/e-(\d)$/, "e-0$1");
  return value < 0 ? `−${text}` : text;
}
