"""What the UI shows of each asset: small enough, faces hidden, and whole for any video and any text."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image as Pillow

from sentinel_assets import previews
from sentinel_assets.previews import annotation, contacts, encoding, event_tables, histogram, lanes, places, skeletons
from sentinel_assets.previews.markdown import escape
from sentinel_assets.previews.palette import rgb
from sentinel_assets.previews.people_over_time import people_per_sample
from sentinel_assets.previews.privacy import head_regions, obscured, without_faces
from sentinel_assets.vision.cameras import Camera
from sentinel_assets.vision.errors import SentinelError, TableError
from sentinel_assets.vision.frames import frames_at
from sentinel_assets.vision.models.template import TemplateDescriber
from sentinel_assets.vision.protocols import Image
from sentinel_assets.vision.tables import DESCRIPTIONS, EMBEDDINGS, POSES, Sampling
from sentinel_assets.vision.zones import Line, Zone
from tests.builders.analyses import behavior, person, tables
from tests.builders.clips import write_clip
from tests.builders.sightings import HEIGHT, WIDTH, box, detections, pose

HOSTILE = (
    "<img src=x onerror=alert(1)> | [link](javascript:alert(1)) `code` **bold**\n# heading\u202e ![x](y) &amp; \\|"
)


def noise(number: int, width: int, height: int) -> Image:
    """A picture that compresses as badly as a picture can, another one for each number."""
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)


def described(behaviors: list[dict[str, Any]]) -> pd.DataFrame:
    from sentinel_assets.vision.descriptions import describe_events

    return describe_events(*tables(behaviors), describer=TemplateDescriber())


def pictures(markdown: str) -> list[Pillow.Image]:
    found = re.findall(r"!\[[^]]*\]\(data:image/(?:png|webp);base64,([A-Za-z0-9+/=]+)\)", markdown)
    return [Pillow.open(io.BytesIO(base64.b64decode(data))) for data in found]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve seconds of noise, one frame a second: the hardest thing to make small."""
    path = tmp_path_factory.mktemp("clips") / "noise.mp4"
    write_clip(path, picture=noise, frames=12, width=WIDTH, height=HEIGHT, rate=1, options={"crf": "10"})
    return path


@pytest.fixture(scope="module")
def seen() -> pd.DataFrame:
    """Three people in each of the clip's twelve frames, one of them with a face."""
    rows = []
    for sample in range(12):
        rows += [box(sample, track, (20 + 90 * track, 30, 80 + 90 * track, 220)) for track in range(3)]
        rows.append(box(sample, 0, (35, 35, 60, 65), "face"))
    return detections([{**row, "track": row["track"] + 1} for row in rows], 12)


def test_every_picture_of_a_clip_that_hardly_compresses_is_small(clip: Path, seen: pd.DataFrame) -> None:
    poses = POSES.frame([pose(sample, 1 + sample % 3) for sample in range(12)])
    sentences = described([behavior("standing", 1 + number % 3, number, number + 1) for number in range(12)])
    for markdown, count in (
        (previews.contact_sheet(clip, seen), 1),
        (previews.pose_sheet(clip, poses, seen), 1),
        (previews.description_table(clip, sentences, seen), 12),
    ):
        assert len(markdown) < previews.MAX_MARKDOWN
        assert len(pictures(markdown)) == count
        assert all(min(picture.size) >= 64 for picture in pictures(markdown))


def test_six_hours_with_500_people_fit() -> None:
    seconds, people = 21_600, 500
    rng = np.random.default_rng(1)
    starts = rng.integers(0, seconds - 100, people)
    rows = [box(int(start) + n, 1 + t, (10, 10, 60, 200)) for t, start in enumerate(starts) for n in range(0, 60, 4)]
    table = detections(rows, seconds, 1920, 1080)
    labels = ("walking", "standing", "picking", "sitting", "theft", "violent", "anomaly", "collapse", "unknown")
    acts = [
        behavior(
            labels[(t + n) % 9],
            1 + t,
            float(start + 8 * n),
            float(start + 8 * n + 8 - 7 * (n % 2)),
            needs_review=n == 4,
        )
        for t, start in enumerate(starts)
        for n in range(8)
    ]
    crowd = [person(t, age=float(t % 90), gender=("male", "female", "unknown")[t % 3]) for t in range(people)]
    behaviors, demographics, _ = tables(acts, crowd)
    frames = [FakeFrame(time_s, noise(number, 960, 540)) for number, time_s in enumerate(contacts.telling_times(table))]
    assert len(frames) == contacts.MAX_FRAMES
    sheet = encoding.photo(contacts.draw(frames, detections(rows, seconds, 960, 540)))  # type: ignore[arg-type]
    sentences = DESCRIPTIONS.frame(
        [
            {
                **dict.fromkeys(["peak_s", "end_s"], float(n)),
                "event_key": f"e-{n}-1",
                "track": n,
                "behavior": labels[n % 8],
            }
            | {"start_s": float(n), "description": HOSTILE * 5, "language": "en", "describer": "x", "grounded": False}
            for n in range(5000)
        ]
    )
    vectors = np.eye(384, dtype=np.float32)[np.arange(5000) % 384]
    embeddings = EMBEDDINGS.frame([{"event_key": f"e-{n}-1", "vector": vectors[n]} for n in range(5000)])
    for markdown in (
        previews.as_markdown(sheet, "sheet"),
        previews.swim_lanes(behaviors, Sampling.of(table)),
        previews.age_gender_histogram(demographics),
        event_tables.description_table(sentences),
        previews.neighbour_table(sentences, embeddings),
    ):
        assert len(markdown) < previews.MAX_MARKDOWN


class FakeFrame:
    """A frame of a picture that is here already."""

    def __init__(self, time_s: float, image: Image) -> None:
        self.time_s, self.image = time_s, image
        self.height, self.width = image.shape[:2]


def test_nobody_and_nothing_still_makes_a_picture(clip: Path) -> None:
    nobody = detections([], 12)
    behaviors, demographics, poses = tables([])
    assert len(pictures(previews.contact_sheet(clip, nobody))) == 1
    assert len(contacts.telling_times(nobody)) == 4
    assert contacts.telling_times(detections([], 0)) == []
    assert len(pictures(previews.swim_lanes(behaviors, Sampling.of(nobody)))) == 1
    assert len(pictures(previews.age_gender_histogram(demographics))) == 1
    assert len(pictures(previews.pose_sheet(clip, poses, nobody))) == 1
    none = DESCRIPTIONS.frame([])
    assert "No events" in previews.description_table(clip, none, nobody)
    assert "No events" in previews.neighbour_table(none, EMBEDDINGS.frame([]))
    one = described([behavior()])
    assert "only one event" in previews.neighbour_table(
        one, EMBEDDINGS.frame([{"event_key": "standing-1-1", "vector": []}])
    )


@pytest.mark.parametrize("size", [(20, 20), (64, 480), (480, 64), (4096, 16)])
def test_frames_of_any_shape_fit(size: tuple[int, int]) -> None:
    width, height = size
    table = detections([box(0, 1, (0, 0, width / 2, height))], 1, width, height)
    frame: Any = FakeFrame(0.0, noise(0, width, height))
    sheet = contacts.draw([frame], table)
    assert sheet.width == 960
    assert len(encoding.photo(sheet)) <= encoding.MAX_PICTURE
    poses = POSES.frame([pose(0, 1)])
    assert len(encoding.photo(skeletons.draw([frame], poses, table))) <= encoding.MAX_PICTURE
    wanted = event_tables.glimpses(described([behavior(end_s=0.0)]), table)
    assert len(event_tables.thumbnails([frame], wanted, table)) == 1


# Faces


def test_nothing_finer_than_a_cell_is_left_of_a_face() -> None:
    """Whatever the order of the pixels within a cell, the picture is the same but for rounding."""
    pixels = noise(1, 80, 80)
    cell = 16
    shuffled = pixels.copy()
    rng = np.random.default_rng(2)
    for y in range(0, 80, cell):
        for x in range(0, 80, cell):
            block = shuffled[y : y + cell, x : x + cell].reshape(-1, 3)
            shuffled[y : y + cell, x : x + cell] = rng.permutation(block).reshape(cell, cell, 3)
    assert np.abs(shuffled.astype(int) - pixels).mean() > 30
    assert np.abs(obscured(pixels, cell).astype(int) - obscured(shuffled, cell)).max() <= 2


def test_a_real_face_cannot_be_matched_any_more(weights: Callable[[str], Path]) -> None:
    """Blurred, it has lost its detail, and resembles its own original hardly more than another face does."""
    photo = np.asarray(Pillow.open(weights("photo-zidane")).convert("RGB"))
    face = (828.0, 95.0, 975.0, 300.0)
    height, width = photo.shape[:2]
    table = detections([box(0, 1, (740, 40, 1150, 715)), box(0, 1, face, "face")], 1, width, height)
    hidden = without_faces(photo, table)
    x1, y1, x2, y2 = (int(edge) for edge in face)
    before, after = (image[y1:y2, x1:x2].astype(float).mean(axis=2) for image in (photo, hidden))
    assert detail(after) < 0.02 * detail(before)
    assert abs(np.corrcoef(edges(before).ravel(), edges(after).ravel())[0, 1]) < 0.1
    assert np.array_equal(photo[600:, :600], hidden[600:, :600])  # the rest is left alone


def edges(grey: np.ndarray) -> np.ndarray:
    return 4 * grey[1:-1, 1:-1] - grey[:-2, 1:-1] - grey[2:, 1:-1] - grey[1:-1, :-2] - grey[1:-1, 2:]


def detail(grey: np.ndarray) -> float:
    """Energy of the second differences."""
    return float((edges(grey) ** 2).mean())


@pytest.mark.parametrize(
    ("rows", "covered", "spared"),
    [
        # an upright person without a face: the head, not the legs
        ([box(0, 1, (100, 20, 160, 220))], (130, 30), (130, 200)),
        # a person cut off at the chest: half of it
        ([box(0, 1, (100, 60, 220, 200))], (160, 110), (160, 180)),
        # a lying person: either end, since the head may be at either
        ([box(0, 1, (60, 150, 260, 210))], (70, 180), (30, 180)),
        ([box(0, 1, (60, 150, 260, 210))], (250, 180), (300, 180)),
        # a face with a margin; the chest below it stays as it is
        ([box(0, 1, (100, 20, 160, 220)), box(0, 1, (115, 25, 145, 60), "face")], (112, 20), (130, 110)),
        # a face of nobody
        ([box(0, None, (200, 100, 230, 140), "face")], (215, 120), (100, 120)),
        # a doubtful face, one too small to be this head, another person's: the head is hidden besides
        (
            [box(0, 1, (100, 20, 160, 220)), box(0, 1, (115, 25, 145, 60), "face", confidence=0.4)],
            (102, 65),
            (130, 200),
        ),
        ([box(0, 1, (100, 20, 160, 220)), box(0, 1, (150, 60, 156, 68), "face")], (120, 30), (130, 200)),
        ([box(0, 1, (100, 20, 160, 220)), box(0, 2, (115, 25, 145, 60), "face")], (102, 65), (130, 200)),
        # partly beyond the frame's edge
        ([box(0, 1, (-30, -20, 40, 180))], (5, 5), (5, 150)),
    ],
)
def test_every_head_is_hidden_and_little_else(
    rows: list[dict[str, Any]], covered: tuple[int, int], spared: tuple[int, int]
) -> None:
    regions = head_regions(detections(rows, 1), width=WIDTH, height=HEIGHT)

    def hides(point: tuple[int, int]) -> bool:
        return any(r.x1 <= point[0] < r.x2 and r.y1 <= point[1] < r.y2 for r in regions)

    assert hides(covered)
    assert not hides(spared)


def test_a_box_beside_the_frame_hides_nothing_and_breaks_nothing() -> None:
    table = detections([box(0, 1, (-50, -50, -10, -5)), box(0, 1, (400, 10, 420, 30), "face")], 1)
    image = noise(3, WIDTH, HEIGHT)
    assert np.array_equal(without_faces(image, table), image)


def painted_face() -> tuple[Any, pd.DataFrame]:
    """A grey frame with a person whose head is a chequerboard of black and white."""
    image = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    rows, columns = np.indices((40, 30)) // 5
    image[30:70, 115:145] = np.where((rows + columns) % 2, 255, 0)[..., None]
    return FakeFrame(0.0, image), detections([box(0, 1, (100, 20, 160, 220))], 1)


def contrast(image: Any) -> float:
    return float(np.asarray(image, float).std())


def test_faces_are_hidden_unless_they_are_asked_for() -> None:
    frame, table = painted_face()
    head = np.s_[30:70, 115:145]
    assert contrast(frame.image[head]) > 120
    assert contrast(annotation.private_image(frame, table, show_faces=False)[head]) < 12
    assert np.array_equal(annotation.private_image(frame, table, show_faces=True), frame.image)

    wanted = event_tables.glimpses(described([behavior()]), table)
    poses = POSES.frame([pose(0, 1, keypoints=np.zeros(51, np.float32), orientation=None)])

    def thumbnail(**options: bool) -> Pillow.Image:
        (encoded,) = event_tables.thumbnails([frame], wanted, table, **options).values()
        return Pillow.open(io.BytesIO(encoded)).convert("RGB")

    for draw in (
        thumbnail,
        lambda **options: skeletons.draw([frame], poses, table, **options),
        lambda **options: contacts.draw([frame], table, **options),
    ):
        hidden, shown = np.asarray(draw(), int), np.asarray(draw(show_faces=True), int)
        assert np.abs(hidden - shown).max() > 60
        assert contrast(hidden) < contrast(shown)


def test_a_frame_that_was_not_sampled_is_refused_since_no_face_in_it_is_known() -> None:
    frame, table = painted_face()
    frame.time_s = 0.4
    with pytest.raises(TableError, match="none of the sampled"):
        contacts.draw([frame], table)


# What is chosen


def test_frames_are_chosen_where_people_are_and_show_all_of_them() -> None:
    rows = [box(sample, 1, (0, 0, 50, 200)) for sample in range(100, 200)]
    rows += [box(150, 2, (60, 0, 99, 200)), box(151, 3, (60, 0, 99, 200)), box(190, 4, (60, 0, 99, 200))]
    times = contacts.telling_times(detections(rows, 1000))
    assert times == sorted(times)
    assert len(times) == len(set(times)) == contacts.MAX_FRAMES
    assert {100 <= time < 200 for time in times} == {True}
    assert {150.0, 190.0} <= set(times)


def test_people_are_counted_in_every_sample() -> None:
    table = detections([box(1, 1, (0, 0, 9, 9)), box(1, 2, (0, 0, 9, 9)), box(1, 2, (1, 1, 5, 5), "face")], 3)
    assert people_per_sample(table).tolist() == [0, 2, 0]


def test_alarms_have_a_lane_before_long_stays() -> None:
    rows = [behavior("standing", track, 0, 100 + track) for track in range(1, 41)] + [behavior("collapse", 99, 50, 51)]
    shown = lanes.shown_tracks(tables(rows)[0])
    assert len(shown) == lanes.MAX_LANES
    assert 99 in shown
    assert set(shown) - {99} == set(range(41 - lanes.MAX_LANES + 1, 41))


def test_unknown_people_are_counted_as_such() -> None:
    crowd = [
        person(1),
        person(2, age=35.0, gender="male"),
        person(3, age=101.0, gender="female"),
        person(4, gender="male"),
    ]
    counted = histogram.counts(tables([], crowd)[1])
    assert counted.loc["age unknown", "unknown"] == 1
    assert counted.loc["age unknown", "male"] == 1
    assert counted.loc["30-39", "male"] == 1
    assert counted.loc["70+", "female"] == 1
    assert int(counted.to_numpy().sum()) == 4


def test_each_person_has_a_skeleton_before_one_has_two() -> None:
    rows = [pose(sample, 1) for sample in range(30)] + [pose(5, 2, pose_confidence=0.2), pose(6, 3, keypoints=None)]
    chosen = skeletons.telling_poses(POSES.frame(rows))
    assert len(chosen) == skeletons.MAX_CROPS
    assert set(chosen["track"]) == {1, 2}
    assert chosen["time_s"].is_monotonic_increasing


def test_neighbours_are_the_nearest_others() -> None:
    sentences = described([behavior("walking", end_s=2), behavior("standing", 1, 2, 4), behavior("sitting", 1, 4, 6)])
    vectors = [[1.0, 0.0], [0.8, 0.6], [-1.0, 0.0]]
    keys = ["walking-1-1", "standing-1-1", "sitting-1-1"]
    embeddings = EMBEDDINGS.frame([{"event_key": k, "vector": v} for k, v in zip(keys, vectors, strict=True)])
    first = previews.neighbour_table(sentences, embeddings.iloc[::-1]).splitlines()[2]
    assert re.search(r"walking.*standing still.*0\.800", first)


# Markdown


def cells(row: str) -> Iterator[str]:
    """The cells of a table's row, as GitHub-flavoured Markdown parts them: at pipes that no backslash precedes."""
    yield from (cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1])


def test_hostile_text_stays_text_in_its_cell() -> None:
    sentences = described([behavior()]).assign(description=HOSTILE)
    markdown = event_tables.description_table(sentences)
    assert len(markdown.splitlines()) == 3
    _, _, _, description = cells(markdown.splitlines()[2])
    assert not re.search(r"<|(?<!\\)[\[\]`*#!]", description)
    assert "\u202e" not in description


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Young man, 20-30, at 00:05", "Young man, 20-30, at 00:05"),  # our own sentences stay readable
        ("a|b", r"a\|b"),
        ("<b>", "&lt;b&gt;"),
        ("&lt;", "&amp;lt;"),
        ("[a](b)", r"\[a\]\(b\)"),
        ("two\n\nlines\r\u2028\x00", "two lines"),
        ("\\", r"\\"),
        ("쓰러진 사람", "쓰러진 사람"),
        ("x" * 300, "x" * 239 + "…"),
        ("", ""),
    ],
)
def test_text_is_shown_letter_by_letter(text: str, shown: str) -> None:
    assert escape(text) == shown


def test_a_picture_is_named_by_its_kind_and_nothing_else_is_one() -> None:
    buffer = io.BytesIO()
    Pillow.new("RGB", (4, 4)).save(buffer, "JPEG")
    assert previews.as_markdown(buffer.getvalue(), "a ] b").startswith(r"![a \] b](data:image/jpeg;base64,")
    with pytest.raises(SentinelError, match="neither PNG"):
        previews.as_markdown(b"<svg onload=alert(1)>", "x")


def test_pictures_are_opaque_and_keep_their_size_where_they_can() -> None:
    chart = Pillow.open(io.BytesIO(encoding.chart(histogram.draw(tables([])[1]))))
    assert (chart.mode, chart.size, "transparency" in chart.info) == ("P", (960, 360), False)
    with pytest.raises(SentinelError, match="no picture fits"):
        encoding.photo(Pillow.fromarray(noise(0, 64, 64)), 40)


def test_naming_the_previews_loads_nothing_heavy() -> None:
    code = "import sys, sentinel_assets.previews; print({'matplotlib', 'PIL', 'cv2', 'torch', 'av'} & set(sys.modules))"
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert printed.strip() == "set()"


def test_zones_are_drawn_over_the_frame_in_their_places(clip: Path, seen: pd.DataFrame) -> None:
    """Measured on twice the size; small enough, and a shelf's outline lies where its polygon is."""
    shelf = Zone("drinks", "shelf", ((40, 80), (600, 80), (600, 400), (40, 400)))
    camera = Camera("aisle", ("*",), (2 * WIDTH, 2 * HEIGHT), (shelf,), (Line("door", (100, 440), (300, 440)),))
    markdown = previews.zones_picture(clip, camera, seen)
    assert len(markdown) < previews.MAX_MARKDOWN
    (frame,) = frames_at(clip, [0.0])
    picture = np.asarray(places.draw(frame, camera, seen))
    scale = picture.shape[1] / (2 * WIDTH)
    assert picture[round(240 * scale), round(40 * scale)].tolist() == list(rgb(places.ZONE_COLOURS["shelf"]))
