"""Photos as images, and pictures composed of them."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from PIL import Image as Pillow

from sentinel_assets.vision.protocols import Image


def photo(path: Path, *, shrink: int = 1) -> Image:
    """The photo as an (H, W, 3) uint8 RGB image, `shrink` times smaller in both directions."""
    with Pillow.open(path) as opened:
        return np.asarray(opened.convert("RGB").reduce(shrink) if shrink > 1 else opened.convert("RGB"))


def write_still(path: Path, image: Image, *, seconds: int, rate: int = 5) -> Path:
    """A clip that shows the image, cut to even sides, for that long."""
    even = np.ascontiguousarray(image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2])
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "15"})
        stream.height, stream.width = even.shape[:2]
        stream.pix_fmt = "yuv420p"
        for _ in range(seconds * rate):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
        container.mux(stream.encode())
    return path
