// Asking the server, and putting text on the page: as text, always.
export async function ask(address) {
  let answer;
  try {
    answer = await fetch(address, { headers: { accept: "application/json" } });
  } catch {
    throw new Error("The dashboard does not answer; is it still running?");
  }
  const said = await answer.json().catch(() => ({ error: `The dashboard answered ${answer.status}.` }));
  if (!answer.ok) throw new Error(said.error ?? `The dashboard answered ${answer.status}.`);
  return said;
}

export function say(place, text) {
  if (place) place.textContent = text;
}

export function make(name, text, className) {
  const element = document.createElement(name);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  return element;
}
