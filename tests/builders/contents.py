"""Contents that tell the light analysis what to do: wait until a test lets it go, or refuse them."""

from __future__ import annotations

from pathlib import Path

HELD = b"held: "
"""How those begin that it waits with."""
NO_VIDEO = b"no video: "
"""How those begin that it refuses."""


def let_go(home: Path, content: bytes) -> None:
    """Analyses of this content go on."""
    gate = _gate(home, content)
    gate.parent.mkdir(exist_ok=True)
    gate.touch()


def hold(home: Path, content: bytes) -> None:
    """Analyses of this content wait again."""
    _gate(home, content).unlink()


def is_held(home: Path, content: bytes) -> bool:
    return content.startswith(HELD) and not _gate(home, content).exists()


def _gate(home: Path, content: bytes) -> Path:
    return home / "gates" / content.hex()
