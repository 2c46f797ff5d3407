"""Contents over which an analysis waits until a test lets it go."""

from __future__ import annotations

from pathlib import Path

HELD = b"held: "
"""How they begin."""


def let_go(home: Path, content: bytes) -> None:
    """Analyses of this content go on."""
    gate = _gate(home, content)
    gate.parent.mkdir(exist_ok=True)
    gate.touch()


def is_held(home: Path, content: bytes) -> bool:
    return content.startswith(HELD) and not _gate(home, content).exists()


def _gate(home: Path, content: bytes) -> Path:
    return home / "gates" / content.hex()
