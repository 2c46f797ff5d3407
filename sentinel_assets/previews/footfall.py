"""Where people stood, over a frame; and what they looked at and for how long, as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sentinel_assets.previews import annotation, canvas
from sentinel_assets.previews.markdown import escape, table
from sentinel_assets.previews.palette import INK
from sentinel_assets.vision.frames import Frame
from sentinel_assets.vision.interest import Interest, seconds_by_shelf
from sentinel_assets.vision.models.template import clock

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

_MAX_ROWS = 40


def heat_map(frame: Frame, interest: Interest, detections: pd.DataFrame, *, show_faces: bool = False) -> Picture:
    """The frame, darkened, with the cells in which feet stood the longest the brightest (viridis, scaled by roots)."""
    from matplotlib import colormaps
    from PIL import Image as Pillow
    from PIL import ImageDraw

    image = annotation.private_image(frame, detections, show_faces=show_faces)
    height = max(1, round(frame.height * canvas.WIDTH / frame.width))
    picture = annotation.scaled(image, canvas.WIDTH, height)
    longest = float(interest.heat.max())
    share = np.sqrt(interest.heat / longest) if longest > 0 else interest.heat
    colours = (np.asarray(colormaps["viridis"](share))[:, :, :3] * 255).astype(np.uint8)
    veil = Pillow.fromarray(colours).resize(picture.size, Pillow.Resampling.BICUBIC)
    alpha = Pillow.fromarray((200 * share).astype(np.uint8)).resize(picture.size, Pillow.Resampling.BICUBIC)
    picture.paste(veil, (0, 0), alpha)
    note = f"{interest.visitors} visitors; the brightest place {longest:.0f} s"
    annotation.label(ImageDraw.Draw(picture), (8, 8), note, colour=INK, size=15)
    return picture


def interest_tables(interest: Interest) -> str:
    """Markdown: shelves and the rungs reached before them, stays in zones, lines crossed, and when each happened."""
    parts = [f"{interest.visitors} visitors"]
    by_shelf = seconds_by_shelf(interest.spells)
    if by_shelf:
        rows = [
            [escape(shelf), level, str(people), f"{seconds:.1f}"]
            for shelf, levels in by_shelf.items()
            for level, (people, seconds) in levels.items()
        ]
        parts.append(table(["Shelf", "Interest", "People", "Seconds"], rows))
    if interest.stays:
        zones = sorted({stay.zone for stay in interest.stays})
        rows = []
        for zone in zones:
            own = [stay.seconds for stay in interest.stays if stay.zone == zone]
            rows.append([escape(zone), str(len(own)), f"{sum(own):.1f}", f"{sum(own) / len(own):.1f}"])
        parts.append(table(["Zone", "People", "Seconds", "Seconds each"], rows))
    if interest.crossings:
        rows = []
        for line in sorted({crossing.line for crossing in interest.crossings}):
            ways = [crossing.inward for crossing in interest.crossings if crossing.line == line]
            rows.append([escape(line), str(sum(ways)), str(len(ways) - sum(ways))])
        parts.append(table(["Line", "In", "Out"], rows))
    if interest.spells:
        shown = interest.spells[:_MAX_ROWS]
        rows = [[f"{clock(s.start_s)}-{clock(s.end_s)}", str(s.track), s.level, escape(s.shelf)] for s in shown]
        more = len(interest.spells) - len(shown)
        parts.append(table(["When", "Track", "Interest", "Shelf"], rows) + (f"\n\nand {more} more" if more else ""))
    return "\n\n".join(parts)
