"""Completions that try to get out of the place where they are shown."""

from __future__ import annotations

from pathlib import Path

from dissensus import Run

from .synthetic import record_run

MARK = "pwned"
_SET = f"document.documentElement.dataset.{MARK}=1"
HOSTILE = [
    f"<script>{_SET}</script>",
    f'<img src="http://example.test/x" onerror="{_SET}">',
    f'"><svg onload={_SET}>',
    f"</pre></article></script><script>{_SET}</script>",
    f"</title></style><body onload={_SET}>",
    f"<iframe srcdoc='<script>parent.{_SET}</script>'></iframe>",
    '<link rel="stylesheet" href="http://example.test/x.css">',
    '<meta http-equiv="refresh" content="0;url=http://example.test/">',
    f"javascript:{_SET}",
    "\x1b[2J\x1b[31mred\x1b]0;title\x07\x9b31m",
    "a\u202eb\u2066c\u2069\u200f",
    "line\u2028separator\u2029paragraph",
    "x" * 1_000_000,
    "<!--<script>",
    "]]>&lt;b&gt;&amp;",
    "[bold red]markup[/] :smile: [link=http://example.test]x[/link]",
    "",
]


def hostile_run(folder: Path) -> Run:
    """A run whose prompts and completions are all hostile."""
    return record_run(
        folder,
        generations=4,
        prompts_per_generation=17,
        n_prompts=17,
        spread=1.0,
        texts=lambda prompt, is_correct: HOSTILE[(prompt + is_correct) % len(HOSTILE)],
        prompt_text=lambda prompt: HOSTILE[prompt % len(HOSTILE)] + "\u202e",
        metadata={"estimator": HOSTILE[0], "note": HOSTILE[3], "\x1b[31m": HOSTILE[9]},
    )
