"""The clip that `make demo` analyses where no footage is given: a composition of two photos, and labelled as one.

People are cut out of the photos that the ultralytics wheel carries and moved over a drawn room: a man walks through
while another stands, the first comes back and stops; then two men close up, whose faces are large enough for age and
gender. It shows that the system runs, not how well: photos that slide do not move their legs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sentinel_assets.vision.protocols import Image

LABEL = "COMPOSITION, NOT REAL FOOTAGE"
WIDTH, HEIGHT, RATE, SECONDS = 960, 540, 10, 28
_EMPTY_FROM_S = 16.0
_CLOSE_UP_FROM_S = 20.0  # nobody is there for longer than a tracker waits: the two of the close-up are other people
_CUT_HEIGHT = 240  # px at which GrabCut works: its time grows with the area

_Polygon = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class _Outline:
    """Where someone is in a photo, px: the box (x1, y1, x2, y2), and what in it surely is that person or surely is not.

    The boxes are those that YOLOv8n finds, a little widened; the polygons were read off the photos by hand where
    GrabCut by itself takes a shoe for pavement or another coat for his.
    """

    box: tuple[int, int, int, int]
    person: tuple[_Polygon, ...] = ()
    behind: tuple[_Polygon, ...] = ()


# bus.jpg, 810 x 1080 px
_MAN_IN_BEIGE = _Outline(
    box=(44, 392, 246, 906),
    person=(
        ((56, 862), (80, 858), (104, 888), (100, 896), (64, 888)),  # shoes
        ((178, 868), (205, 862), (236, 880), (230, 888), (180, 896)),
        ((80, 690), (112, 690), (106, 760), (96, 780), (86, 850), (66, 850), (74, 780)),  # legs
        ((140, 690), (174, 690), (184, 770), (198, 845), (180, 850), (162, 790), (150, 740)),
        ((106, 412), (118, 404), (145, 404), (156, 415), (157, 430), (152, 440), (112, 440), (106, 425)),  # hair
    ),
    behind=(
        ((121, 712), (133, 712), (150, 770), (170, 845), (172, 906), (112, 906), (108, 880), (92, 850), (100, 775)),
        ((84, 392), (101, 392), (103, 440), (106, 460), (96, 478), (84, 470)),  # the bus
        ((44, 700), (68, 705), (72, 770), (62, 825), (54, 850), (44, 850)),  # a stranger's hand
        ((210, 392), (246, 392), (246, 862), (216, 862), (205, 840), (195, 780), (190, 720), (202, 690), (208, 560)),
    ),
)
_MAN_IN_BLACK = _Outline(
    box=(222, 400, 348, 862),
    person=(
        ((262, 822), (276, 822), (292, 848), (288, 854), (258, 845)),  # shoes
        ((284, 786), (288, 790), (297, 810), (290, 812), (282, 805)),
        ((266, 420), (272, 411), (285, 408), (297, 412), (305, 424), (303, 434), (269, 436)),  # hair
    ),
    behind=(
        ((222, 400), (259, 400), (263, 455), (266, 478), (246, 488), (235, 505), (222, 540)),  # the bus
        ((312, 400), (348, 400), (348, 500), (337, 490), (306, 474), (311, 450)),
    ),
)
# zidane.jpg, 1280 x 720 px
_TWO_COACHES = _Outline(
    box=(100, 36, 1156, 720),
    behind=(((672, 540), (745, 548), (752, 620), (766, 720), (655, 720), (664, 640)),),  # the crowd between them
)


@dataclass(frozen=True)
class _Figure:
    """A person cut out: RGB (H, W, 3) and the share of it (H, W, 1) that covers what is behind, in [0, 1]."""

    image: NDArray[np.float32]
    cover: NDArray[np.float32]

    def paste(self, frame: Image, left: float, top: float) -> None:
        """Onto the frame, in place; what lies outside is left out."""
        x, y = round(left), round(top)
        height, width = self.cover.shape[:2]
        x1, y1, x2, y2 = max(0, x), max(0, y), min(frame.shape[1], x + width), min(frame.shape[0], y + height)
        if x1 >= x2 or y1 >= y2:
            return
        here = slice(y1 - y, y2 - y), slice(x1 - x, x2 - x)
        behind = frame[y1:y2, x1:x2]
        behind[:] = np.round(behind + self.cover[here] * (self.image[here] - behind)).astype(np.uint8)


def compose_sample(photo_bus: Path, photo_zidane: Path, destination: Path) -> None:
    """Writes the clip: 28 s at 10 frames a second, 960 x 540 px, H.264 in MP4. The same photos give the same frames."""
    import av

    destination.parent.mkdir(parents=True, exist_ok=True)
    unfinished = destination.with_name(f".{destination.name}.part")
    with av.open(str(unfinished), "w", format="mp4") as container:
        # Groups of 2 s, as a camera makes them. One thread: what x264 decides does not depend on the number of cores.
        options = {"crf": "25", "preset": "veryfast", "threads": "1", "bf": "0", "g": str(2 * RATE)}
        stream = container.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number, picture in enumerate(_frames(photo_bus, photo_zidane)):
            # Here and not by the encoder, which would share it among threads.
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=stream.pix_fmt, threads=1)
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    unfinished.replace(destination)


def _frames(photo_bus: Path, photo_zidane: Path) -> Iterator[Image]:
    bus, zidane = _read(photo_bus), _read(photo_zidane)
    beige = _cut_out(bus, _MAN_IN_BEIGE, height=350)
    black = _cut_out(bus, _MAN_IN_BLACK, height=310)
    coaches = _cut_out(zidane, _TWO_COACHES, height=470)
    mirrored = _Figure(beige.image[:, ::-1], beige.cover[:, ::-1])
    room, wall, label = _room(), _as_image(_wall()), _label()
    for number in range(SECONDS * RATE):
        time_s = number / RATE
        if time_s < _EMPTY_FROM_S:
            frame = room.copy()
            black.paste(frame, 738, 150)
            for figure, path in ((beige, _walks_through), (mirrored, _comes_back_and_stops)):
                place = path(time_s)
                if place is not None:
                    figure.paste(frame, *place)
        elif time_s < _CLOSE_UP_FROM_S:
            frame = wall.copy()
        else:
            frame = wall.copy()
            sway = 12 * np.sin(2 * np.pi * (time_s - _CLOSE_UP_FROM_S) / 6)
            coaches.paste(frame, 110 + sway, HEIGHT - 470)
        frame[-len(label) :] = label
        yield frame


def _walks_through(time_s: float) -> tuple[float, float] | None:
    """His top left corner, px: from left to right in 8 s, at 0.45 body heights a second; None when he is gone."""
    return (-140 + 157 * time_s, 160 + _bob(time_s)) if time_s < 8 else None


def _comes_back_and_stops(time_s: float) -> tuple[float, float] | None:
    """From the right, for 4 s; then he stands."""
    walked_s = time_s - 9
    if walked_s < 0:
        return None
    return WIDTH - 157 * min(walked_s, 4.0), 160 + (_bob(walked_s) if walked_s < 4 else 0)


def _bob(time_s: float) -> float:
    """The head's way up and down at two steps a second, px."""
    return 3 * abs(float(np.sin(2 * np.pi * time_s)))


def _read(path: Path) -> Image:
    from PIL import Image as Photo

    with Photo.open(path) as photo:
        return np.asarray(photo.convert("RGB"))


def _cut_out(photo: Image, outline: _Outline, *, height: int) -> _Figure:
    """The person without what is behind, scaled to a height in px."""
    import cv2

    x1, y1, x2, y2 = outline.box
    margin = 24  # px of the photo around the box, for GrabCut to learn the background from
    left, top = max(0, x1 - margin), max(0, y1 - margin)
    scale = _CUT_HEIGHT / (y2 - y1)
    part = cv2.resize(
        photo[top : y2 + margin, left : x2 + margin], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
    )

    def scaled(points: _Polygon) -> NDArray[np.int32]:
        return np.round((np.array(points) - (left, top)) * scale).astype(np.int32)

    (x, y), (right, bottom) = scaled(((x1, y1), (x2, y2)))
    mask = np.full(part.shape[:2], cv2.GC_BGD, np.uint8)
    mask[y:bottom, x:right] = cv2.GC_PR_FGD
    cv2.fillPoly(mask, [scaled(polygon) for polygon in outline.behind], cv2.GC_BGD)
    cv2.fillPoly(mask, [scaled(polygon) for polygon in outline.person], cv2.GC_FGD)
    cv2.setRNGSeed(0)  # GrabCut starts from random clusters
    cv2.grabCut(part, mask, (0, 0, 0, 0), np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_MASK)
    person = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    closed = cv2.morphologyEx(person, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    _, islands, sizes, _ = cv2.connectedComponentsWithStats(closed)
    largest = islands == 1 + int(np.argmax(sizes[1:, cv2.CC_STAT_AREA]))
    size = (round((x2 - x1) * height / (y2 - y1)), height)
    cover = cv2.resize(largest[y:bottom, x:right].astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    cover = cv2.GaussianBlur(cover, (0, 0), 1.0)
    image = cv2.resize(photo[y1:y2, x1:x2], size, interpolation=cv2.INTER_AREA)
    return _Figure(image.astype(np.float32), cover[:, :, None])


def _wall() -> NDArray[np.float32]:
    """A plain wall, a little darker downwards, with the grain of a camera sensor."""
    shade = np.linspace(188, 164, HEIGHT, dtype=np.float32)[:, None, None] + np.zeros((1, WIDTH, 3), np.float32)
    grain = np.random.default_rng(0).normal(0, 1.5, (HEIGHT, WIDTH, 1)).astype(np.float32)
    return shade * np.array([1.0, 0.99, 0.95], np.float32) + grain


def _room() -> Image:
    """The wall, shelf boards along it, and a floor."""
    room = _wall()
    floor = 400
    for board in (90, 190, 290):
        room[board : board + 8] *= 0.72
        room[board + 8 : board + 20] *= 0.9
    room[floor:] *= np.array([0.72, 0.70, 0.68], np.float32)
    room[floor : floor + 3] *= 0.7
    return _as_image(room)


def _as_image(picture: NDArray[np.float32]) -> Image:
    return np.round(np.clip(picture, 0, 255)).astype(np.uint8)


def _label() -> Image:
    """The band at the bottom of every frame that says what this is."""
    import cv2

    band = np.full((24, WIDTH, 3), 30, np.uint8)
    cv2.putText(band, LABEL, (10, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return band
