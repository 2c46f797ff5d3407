"""Photos as images, and pictures composed of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from sentinel_assets.vision.protocols import Image


def photo(path: Path, *, shrink: int = 1) -> Image:
    """The photo as an (H, W, 3) uint8 RGB image, `shrink` times smaller in both directions."""
    with Pillow.open(path) as opened:
        return np.asarray(opened.convert("RGB").reduce(shrink) if shrink > 1 else opened.convert("RGB"))
