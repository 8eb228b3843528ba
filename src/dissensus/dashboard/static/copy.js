// Copy as Python on a page whose numbers the server has written out.
import { say } from "./ask.js";

export function startCopy() {
  const button = document.querySelector("[data-copy]"), text = document.getElementById("python");
  button?.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text.textContent);
      say(button, "Copied");
      setTimeout(() => say(button, "Copy as Python"), 1500);
    } catch {
      text.hidden = false; // a page that is not on this machine may not touch the clipboard
    }
  });
}
