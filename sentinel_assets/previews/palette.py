"""The colours of all pictures: told apart by colour-blind eyes, and readable on a page of any theme."""

from __future__ import annotations

from collections.abc import Mapping

PAPER = "#fcfcfa"
"""Every picture has this background: the page around it may be light or dark."""
INK = "#1f2328"
FAINT = "#6e7781"
GRID = "#d8dee4"
NEUTRAL = "#b6bcc4"

# Okabe and Ito, "Color Universal Design", 2008: eight colours that people of any colour vision tell apart.
BLUE, SKY, GREEN, ORANGE, VERMILION, PURPLE, YELLOW = (
    "#0072b2",
    "#56b4e9",
    "#009e73",
    "#e69f00",
    "#d55e00",
    "#cc79a7",
    "#f0e442",
)

BEHAVIOR_COLOURS: Mapping[str, str] = {
    "walking": BLUE,
    "standing": SKY,
    "sitting": GREEN,
    "picking": ORANGE,
    "theft": VERMILION,
    "collapse": PURPLE,
    "violent": INK,
    "anomaly": YELLOW,
    "unknown": GRID,
}

GENDER_COLOURS: Mapping[str, str] = {"female": VERMILION, "male": BLUE, "unknown": NEUTRAL}

_TRACK_COLOURS = (ORANGE, SKY, GREEN, YELLOW, PURPLE, VERMILION, BLUE)


def track_colour(track: int) -> str:
    """The colour of a person's box and id; colours come round again after seven, the number beside them does not."""
    return _TRACK_COLOURS[(track - 1) % len(_TRACK_COLOURS)]


def rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def is_light(colour: str) -> bool:
    """Whether dark text reads better upon it (relative luminance, ITU-R BT.601 weights)."""
    red, green, blue = rgb(colour)
    return 0.299 * red + 0.587 * green + 0.114 * blue > 140
