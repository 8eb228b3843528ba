// Completions side by side: which two are compared, and whether whole texts are shown.
export function startCompletions() {
}
