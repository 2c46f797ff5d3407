"""What an upgrade changed, as pictures: the same moment before and after, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sentinel_assets.previews import annotation
from sentinel_assets.previews.palette import FAINT, GRID, INK, PAPER, rgb
from sentinel_assets.vision.models.template import clock

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

    from sentinel_assets.canary import Change

_EMPTY = (477, 120)
"""px of what stands for a picture that there is none of."""
_GAP, _HEAD = 6, 24
_LONGEST = 130  # characters of a heading: what fits into its width


def nothing(why: str) -> Picture:
    """In place of a picture: a field with the reason."""
    from PIL import Image as Pillow
    from PIL import ImageDraw

    picture = Pillow.new("RGB", _EMPTY, rgb(PAPER))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, 0, _EMPTY[0] - 1, _EMPTY[1] - 1), outline=rgb(GRID))
    draw.text((_EMPTY[0] / 2, _EMPTY[1] / 2), why[:64], font=annotation.font(14), fill=rgb(FAINT), anchor="mm")
    return picture


def side_by_side(change: Change, video: str, before: Picture, after: Picture) -> Picture:
    """Under a heading that says what changed: what was there before at the left, what is there now at the right."""
    from PIL import Image as Pillow
    from PIL import ImageDraw

    event = change.event
    what = f" ({', '.join(change.what)})" if change.what else ""
    span = f"{clock(event['timestamp'])}-{clock(event['end_s'])}"
    heading = f"{change.kind}{what}: {event['event_type']}, {span}, {video}"
    width = before.width + _GAP + after.width
    sheet = Pillow.new("RGB", (width, _HEAD + max(before.height, after.height)), rgb(PAPER))
    draw = ImageDraw.Draw(sheet)
    draw.text((2, 3), _latin(heading)[:_LONGEST], font=annotation.font(14), fill=rgb(INK))
    sheet.paste(before, (0, _HEAD))
    sheet.paste(after, (before.width + _GAP, _HEAD))
    return sheet


def stacked(pictures: Sequence[Picture]) -> Picture:
    """One below the other."""
    from PIL import Image as Pillow

    sheet = Pillow.new("RGB", (max(p.width for p in pictures), sum(p.height + _GAP for p in pictures)), rgb(PAPER))
    y = 0
    for picture in pictures:
        sheet.paste(picture, (0, y))
        y += picture.height + _GAP
    return sheet


def _latin(text: str) -> str:
    """As the typeface can write it."""
    return text.encode("latin-1", "replace").decode("latin-1")
