"""Charts on matplotlib without its global state, as Pillow pictures."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from sentinel_assets.previews.palette import FAINT, GRID, INK, PAPER

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image as Picture

WIDTH = 960
"""px of every picture: the dialog of Dagster's UI cuts off what is wider than 0.8 x the window - 40 px, and a laptop's
window has 1280. A test in a browser holds that it fits."""
_DPI = 100


def figure(height: int, rows: int = 1, **options: Any) -> tuple[Figure, Any]:
    """A figure of WIDTH x `height` px, and its axes: one, or a column of `rows`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(WIDTH / _DPI, height / _DPI), dpi=_DPI, facecolor=PAPER, layout="constrained")
    FigureCanvasAgg(made)
    return made, made.subplots(rows, **options)


def plain(axes: Any) -> None:
    """The style of all charts: no frame, faint ticks, a light grid behind the data along the value axis."""
    axes.set_facecolor(PAPER)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)
    axes.tick_params(colors=FAINT, labelcolor=INK, length=0, labelsize=10)
    axes.tick_params(axis="x", pad=7)
    axes.set_axisbelow(True)


def title(axes: Any, text: str, note: str = "") -> None:
    """A heading at the left, and beside it in faint ink what it is made of. The text is taken letter by letter."""
    heading = axes.set_title(text, loc="left", fontsize=13, fontweight="bold", color=INK, pad=10, parse_math=False)
    if note:
        axes.annotate(
            note,
            (1, 0.5),
            xycoords=heading,
            xytext=(10, 0),
            textcoords="offset points",
            va="center_baseline",
            fontsize=10.5,
            color=FAINT,
            parse_math=False,
        )


def time_axis(axes: Any, duration_s: float) -> None:
    """Ticks of the x axis, seconds, at round times and written as on a player."""
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    from sentinel_assets.vision.models.template import clock

    steps = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400)
    step = next((step for step in steps if duration_s / step <= 12), 21600)
    axes.set_xlim(0, max(duration_s, 1e-3))
    axes.xaxis.set_major_locator(MultipleLocator(max(step, duration_s / 24 if duration_s > 24 * step else step)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: clock(seconds + 1e-6)))


def rendered(made: Figure) -> Picture:
    """The figure as an RGB picture."""
    from PIL import Image as Pillow

    buffer = io.BytesIO()
    made.canvas.print_raw(buffer)  # type: ignore[attr-defined]
    width, height = made.canvas.get_width_height()
    return Pillow.frombytes("RGBA", (width, height), buffer.getvalue()).convert("RGB")
