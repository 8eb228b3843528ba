// Light or dark: the system's choice until the reader makes one.
const root = document.documentElement;

export function startTheme(onChange) {
  const button = document.getElementById("theme");
  const set = (theme) => {
    root.dataset.theme = theme;
    button.textContent = theme === "dark" ? "Light" : "Dark";
    onChange();
  };
  button.hidden = false;
  button.textContent = root.dataset.theme === "dark" ? "Light" : "Dark";
  button.addEventListener("click", () => {
    const theme = root.dataset.theme === "dark" ? "light" : "dark";
    try { localStorage.setItem("dissensus-theme", theme); } catch { /* then it holds for this page */ }
    set(theme);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) => {
    let chosen = null;
    try { chosen = localStorage.getItem("dissensus-theme"); } catch { /* as above */ }
    if (!chosen) set(event.matches ? "dark" : "light");
  });
}
