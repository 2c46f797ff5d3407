"""Every frame is the one that the rule over time stamps names, whatever the container, codec, order or damage."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from sentinel_assets.vision.containers import DecodeWork
from sentinel_assets.vision.frames import frames_at, probe, sample_frames
from tests.builders.clips import ClipSpec, frame_number, loop, write_clip

FRAMES = 80
MS = Fraction(1, 1000)
# 25 fps, then half of it, then a gap of 1.2 s, then 20 fps, nothing quite regular.
VARIABLE = [40 * i + 7 * (i % 3) for i in range(30)] + [1300 + 80 * i for i in range(20)] + [
    4100 + 50 * i for i in range(30)
]  # fmt: skip
OPEN_GROUPS = {"x265-params": "keyint=12:min-keyint=12:scenecut=0:bframes=3:open-gop=1:log-level=none:pools=none"}
UNSHIFTED = {"avoid_negative_ts": "disabled"}

# file name, what is written, does the plan hold?
CLIPS = [
    ("plain.mp4", {}, True),
    ("b-frames.mp4", {"b_frames": 3}, True),
    ("b-frames.mov", {"b_frames": 2, "gop": 50}, True),
    ("b-frames.mkv", {"b_frames": 3}, True),
    ("b-frames.ts", {"b_frames": 2}, True),
    ("one-group.mp4", {"gop": 1000}, True),
    ("all-keyframes.mp4", {"gop": 1}, True),
    ("open-groups.mkv", {"b_frames": 2, "gop": 12, "options": {"x264-params": "open-gop=1"}}, True),
    ("intra-refresh.ts", {"gop": 12, "options": {"x264-params": "intra-refresh=1"}}, True),
    ("fragmented.mp4", {"container_options": {"movflags": "frag_keyframe+empty_moov"}}, True),
    ("variable.mp4", {"times": VARIABLE, "time_base": MS}, True),
    ("variable-b.mkv", {"times": VARIABLE, "time_base": MS, "b_frames": 3}, True),
    ("late-start.mkv", {"times": range(100, 100 + FRAMES)}, True),
    ("late-start.mp4", {"times": range(7, 7 + FRAMES), "b_frames": 2}, True),
    ("late-start.ts", {"times": range(1000, 1000 + FRAMES)}, True),
    ("hevc.mp4", {"codec": "libx265"}, True),
    ("hevc-b.mkv", {"codec": "libx265", "b_frames": 3}, True),
    ("hevc-open-groups.mp4", {"codec": "libx265", "gop": 12, "b_frames": 3, "options": OPEN_GROUPS}, True),
    ("mpeg4.mp4", {"codec": "mpeg4", "b_frames": 2, "gop": 12}, True),
    ("mpeg4.avi", {"codec": "mpeg4", "gop": 12}, True),
    ("mpeg4-b.avi", {"codec": "mpeg4", "b_frames": 2, "gop": 12}, True),
    ("mjpeg.avi", {"codec": "mjpeg"}, True),
    ("mjpeg.mkv", {"codec": "mjpeg", "times": VARIABLE, "time_base": MS}, True),
    ("vp8.webm", {"codec": "libvpx", "gop": 12}, True),
    ("vp9.webm", {"codec": "libvpx-vp9", "gop": 12}, True),
    ("mpeg2.mpg", {"codec": "mpeg2video", "b_frames": 2, "gop": 12}, True),
    # AVI tells when to decode H.264, not when to show it: everything is decoded, and shown in the decoder's order.
    ("h264.avi", {}, False),
    ("h264-b.avi", {"b_frames": 3}, False),
    # An elementary stream has no time stamps: frames stand 1 / 25 s apart.
    ("elementary.h264", {"b_frames": 2}, False),
    ("elementary.hevc", {"codec": "libx265"}, False),
    # Each picture of a GIF is drawn over the one before; it may take any time, in hundredths of a second.
    ("variable.gif", {"codec": "gif", "times": [v // 10 for v in VARIABLE], "time_base": Fraction(1, 100)}, False),
]


def expected_samples(spec: ClipSpec, rate_hz: float) -> list[tuple[float, int]]:
    """Time and number of each sample, from what was written: the rule in its plainest form."""
    samples: list[tuple[float, int]] = []
    k = 0
    for number, time_s in enumerate(spec.seconds):
        if time_s >= k / rate_hz - 1e-9:
            samples.append((time_s, number))
            k = int(time_s * rate_hz + 1e-9) + 1
    return samples


@pytest.fixture(scope="module")
def clip_file(tmp_path_factory: pytest.TempPathFactory):
    """Writes a clip of the table once."""
    folder = tmp_path_factory.mktemp("clips")
    written: dict[str, tuple[Path, ClipSpec]] = {}

    def get(name: str, changes: dict) -> tuple[Path, ClipSpec]:
        if name not in written:
            written[name] = (folder / name, write_clip(folder / name, frames=FRAMES, **changes))
        return written[name]

    return get


@pytest.mark.parametrize("rate_hz", [1.0, 6.0])
@pytest.mark.parametrize(("name", "changes", "planned"), CLIPS, ids=[name for name, _, _ in CLIPS])
def test_each_sample_is_the_first_frame_at_or_after_its_time(clip_file, name, changes, planned, rate_hz) -> None:
    path, spec = clip_file(name, changes)
    work, damage = DecodeWork(), []
    frames = list(sample_frames(path, rate_hz, on_damage=damage.append, work=work))
    expected = expected_samples(spec, rate_hz)
    assert [frame_number(f.image) for f in frames] == [number for _, number in expected]
    assert [f.time_s for f in frames] == pytest.approx([time_s for time_s, _ in expected], abs=1e-9)
    assert [f.sample for f in frames] == list(range(len(frames)))
    assert work.planned == planned
    assert damage == []


@pytest.mark.parametrize(("name", "changes", "planned"), CLIPS, ids=[name for name, _, _ in CLIPS])
def test_the_frames_at_sampled_times_are_those_samples(clip_file, name, changes, planned) -> None:
    path, _ = clip_file(name, changes)
    samples = list(sample_frames(path, 6.0))[1::2]
    again = list(frames_at(path, [frame.time_s for frame in samples]))
    assert [f.time_s for f in again] == [f.time_s for f in samples]
    assert [f.sample for f in again] == list(range(len(samples)))
    for first, second in zip(samples, again, strict=True):
        assert np.array_equal(first.image, second.image)


def test_samples_equal_those_of_decoding_everything_on_real_clips(footage: Path) -> None:
    """Phone clips with B-frames and uneven times, a ten-frames-a-second recording, an animated GIF."""
    names = ["Subject_1_ADL_16.mp4", "Subject_2_Fall_12.mp4", "Subject_4_Fall_03.mp4"]
    for path in [footage / "gmdcsa24" / name for name in names] + [footage / "store-aisle-detection.gif"]:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            every = [(f.pts, f) for f in container.decode(stream)]
            first, k, expected = every[0][0], 0, []
            for pts, frame in every:
                if (pts - first) * stream.time_base >= k:
                    expected.append((float((pts - first) * stream.time_base), frame.to_ndarray(format="rgb24")))
                    k = (pts - first) * stream.time_base // 1 + 1
        samples = list(sample_frames(path))
        assert [f.time_s for f in samples] == [time_s for time_s, _ in expected]
        for sample, (_, image) in zip(samples, expected, strict=True):
            # The colour matrix may be chosen otherwise than by to_ndarray; the picture is the same.
            assert np.abs(sample.image.mean(axis=2) - image.mean(axis=2)).mean() < 4


@pytest.mark.parametrize(
    ("changes", "most"),
    [
        ({"gop": 50}, 0.53),  # 26 of 50
        ({"gop": 25}, 0.05),  # keyframes only, and the first frame's group
        ({"gop": 250}, 0.92),  # 226 of 250: long groups cannot be escaped
        ({"gop": 250, "b_frames": 3}, 0.6),  # unreferenced B-frames are left out
        ({"gop": 50, "codec": "libx265"}, 0.53),
    ],
)
def test_only_what_the_samples_need_is_decoded(tmp_path: Path, changes: dict, most: float) -> None:
    write_clip(tmp_path / "clip.mp4", frames=500, width=64, height=64, **changes)
    work = DecodeWork()
    assert len(list(sample_frames(tmp_path / "clip.mp4", work=work))) == 20
    assert work.packets == 500
    assert work.frames <= most * 500


def test_frames_at_reads_no_further_than_the_last_time(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4", frames=500, width=64, height=64)
    work = DecodeWork()
    assert [frame_number(f.image) for f in frames_at(tmp_path / "clip.mp4", [2.0, 2.0, 3.04], work=work)] == [
        50,
        50,
        76,
    ]
    assert work.packets < 150


_PEAK_MEMORY = """
import resource, sys
from sentinel_assets.vision.frames import sample_frames
for frame in sample_frames(sys.argv[1], 0.2):
    frame.resized(64)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.parametrize("one_group", [False, True])
def test_memory_does_not_grow_with_the_length(tmp_path: Path, one_group: bool) -> None:
    """Eight times the length (24 and 192 MB of packets), also where the whole file is a single group of pictures."""
    noise = np.random.default_rng(0)
    write_clip(
        tmp_path / "turn.mkv",
        picture=lambda _, width, height: noise.integers(0, 256, (height, width, 3), dtype=np.uint8),
        frames=10, width=320, height=240, codec="mpeg4", gop=10, options={"q": "1", "qmin": "1"},
    )  # fmt: skip
    peaks = []
    for turns in (30, 240):
        path = tmp_path / f"{turns}.mkv"
        loop(tmp_path / "turn.mkv", path, turns, one_group=one_group)
        command = [sys.executable, "-c", _PEAK_MEMORY, str(path)]
        peaks.append(int(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    assert path.stat().st_size > 60 * 2**20
    assert peaks[1] < 1.15 * peaks[0]


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize("name", ["clip.mp4", "clip.mov"])
def test_frames_and_clip_are_upright(tmp_path: Path, name: str, rotation: int) -> None:
    write_clip(tmp_path / name, frames=30, width=128, height=96, rotation=rotation)
    clip = probe(tmp_path / name)
    assert (clip.width, clip.height, clip.rotation) == (128, 96, rotation)
    for frame in sample_frames(tmp_path / name, 5):
        assert (frame.width, frame.height) == (128, 96)
        assert frame.image.shape == (96, 128, 3)
        assert frame.resized(64).shape == (48, 64, 3)
        numbers = {frame_number(i) for i in (frame.image, frame.resized(64), frame.crop(0, 0, 128, 96))}
        assert numbers == {round(25 * frame.time_s)}


def _gradient(number: int, width: int, height: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 255 // width, y * 255 // height, np.full_like(x, 30 + number)], axis=2).astype(np.uint8)


@pytest.mark.parametrize(
    "changes",
    [
        {},  # yuv420p
        {"rotation": 90},
        {"rotation": 180},
        {"rotation": 270},
        {"width": 97, "height": 131, "codec": "mpeg4", "options": {"q": "2"}},  # odd sizes
        {"pixel_format": "yuv422p"},
        {"pixel_format": "yuv444p", "width": 97, "height": 75},
        {"codec": "mjpeg"},  # full range
        {"pixel_format": "yuv420p10le"},  # not cut plane by plane
        {"width": 1280, "height": 720, "frames": 1},  # high definition: another colour matrix
    ],
    ids=str,
)
def test_a_crop_is_that_region_of_the_image(tmp_path: Path, changes: dict) -> None:
    path = tmp_path / "clip.mkv" if "rotation" not in changes else tmp_path / "clip.mp4"
    spec = write_clip(path, picture=_gradient, **{"frames": 2, "width": 128, "height": 96, **changes})
    frame = next(sample_frames(path))
    width, height = spec.width, spec.height
    assert frame.image.shape == (height, width, 3)
    for x1, y1, x2, y2 in [
        (0, 0, width, height),
        (3, 5, 40, 66),
        (11.2, 7.9, 12.1, 8.3),
        (width - 5, 9, width + 50, 30),
    ]:
        part = frame.crop(x1, y1, x2, y2)
        whole = frame.image[int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))]
        assert part.shape == whole.shape
        difference = np.abs(part.astype(int) - whole)
        assert difference.max() <= 8
        assert difference.mean() <= 2 or part.size < 100
    with pytest.raises(ValueError, match="does not overlap"):
        frame.crop(width, 0, width + 10, 10)


@pytest.mark.parametrize(
    ("matrix", "height", "full_range"),
    [
        ("bt709", 96, False),
        ("bt709", 96, True),
        ("bt709", 720, False),
        ("smpte170m", 96, False),
        ("smpte170m", 96, True),
        (None, 720, False),  # says nothing
        (None, 96, False),
    ],
)
def test_colours_come_back_as_they_were(tmp_path: Path, matrix: str | None, height: int, full_range: bool) -> None:
    """Tagged video by its tags; untagged as BT.709 from 720 lines on and BT.601 below, limited range."""
    colours = [(200, 40, 40), (40, 180, 60), (30, 60, 220), (230, 220, 40)]
    picture = np.zeros((height, 128, 3), np.uint8)
    for place, colour in enumerate(colours):
        picture[:, 32 * place : 32 * place + 32] = colour
    space = {"bt709": "ITU709", "smpte170m": "ITU601", None: "ITU709" if height >= 720 else "ITU601"}[matrix]
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "4"})
        stream.width, stream.height, stream.pix_fmt = 128, height, "yuvj420p" if full_range else "yuv420p"
        context = stream.codec_context
        if matrix:
            context.colorspace = {"bt709": 1, "smpte170m": 6}[matrix]
            context.color_range = 2 if full_range else 1
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(
            format=stream.pix_fmt, dst_colorspace=space, dst_color_range="JPEG" if full_range else "MPEG"
        )
        if not matrix:
            frame.colorspace, frame.color_range = 2, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    image = next(sample_frames(path)).image
    for place, colour in enumerate(colours):
        assert image[height // 2, 32 * place + 16].tolist() == pytest.approx(colour, abs=6)


@pytest.mark.parametrize(
    ("name", "codec"), [("c.mp4", "libx264"), ("c.gif", "gif"), ("c.avi", "mjpeg"), ("c.mkv", "mpeg4")]
)
@pytest.mark.parametrize(("frames", "side"), [(1, 96), (1, 20), (30, 20)])
def test_one_frame_and_twenty_pixels_are_a_video(tmp_path: Path, name: str, codec: str, frames: int, side: int) -> None:
    spec = write_clip(tmp_path / name, picture=_gradient, frames=frames, width=side, height=side, codec=codec)
    clip = probe(tmp_path / name)
    assert (clip.width, clip.height) == (side, side)
    assert clip.duration_s > 0
    samples = list(sample_frames(tmp_path / name, 5))
    assert [f.time_s for f in samples] == pytest.approx([time_s for time_s, _ in expected_samples(spec, 5)])
    assert samples[0].resized(640).shape == (640, 640, 3)
    assert samples[0].crop(-5, -5, 7, 7).shape == (7, 7, 3)


def test_a_transparent_gif_stands_on_white(tmp_path: Path) -> None:
    from PIL import Image

    pictures = []
    for shade in (10, 90):
        picture = Image.new("P", (40, 40), 1)
        picture.putpalette([shade, shade, shade, 0, 0, 0] + [0] * 762)
        picture.paste(0, (0, 0, 20, 40))
        pictures.append(picture)
    pictures[0].save(
        tmp_path / "c.gif", save_all=True, append_images=pictures[1:], transparency=1, duration=300, disposal=2
    )
    first, second = (frame.image for frame in sample_frames(tmp_path / "c.gif", 5))
    assert first[20, 10].tolist() == [10, 10, 10]
    assert second[20, 10].tolist() == [90, 90, 90]
    assert first[20, 30].tolist() == second[20, 30].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    ("name", "changes", "duration_s"),
    [
        ("c.mp4", {}, 3.2),
        ("c.mkv", {"codec": "mpeg4"}, 3.2),
        ("c.avi", {"codec": "mjpeg"}, 3.2),
        ("c.gif", {"codec": "gif", "time_base": Fraction(1, 100), "times": range(0, 320, 4)}, 3.2),
        ("c.h264", {}, 3.2),  # says nothing: from its packets
        ("c.ts", {}, 3.2),
    ],
)
def test_probe_says_what_the_clip_is_without_decoding_it(tmp_path: Path, name, changes, duration_s) -> None:
    write_clip(tmp_path / name, frames=80, **changes)
    clip = probe(tmp_path / name)
    assert clip.path == tmp_path / name
    assert clip.duration_s == pytest.approx(duration_s, abs=0.05)
    assert clip.average_rate == pytest.approx(25, rel=0.01)
    assert (clip.width, clip.height, clip.rotation) == (128, 96, 0)
    assert clip.codec in {"h264", "mpeg4", "mjpeg", "gif"}
