"""Text and tables in Markdown, whatever the text contains."""

from __future__ import annotations

import re
from collections.abc import Sequence

_ACTIVE = re.compile(r"([\\`*_{}\[\]()#+!|~$^=])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u0085\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")
"""Line breaks would end a table's row; direction marks and overrides make text read otherwise than it is."""


def escape(text: str, limit: int = 240) -> str:
    """The text on one line as Markdown shows it letter by letter: no markup, no HTML, no links; cut after `limit`."""
    plain = " ".join(_CONTROL.sub(" ", text).split())
    if len(plain) > limit:
        plain = plain[: limit - 1].rstrip() + "…"
    plain = plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _ACTIVE.sub(r"\\\1", plain)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
