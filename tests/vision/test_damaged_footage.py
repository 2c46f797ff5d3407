"""What is not a video, or not whole: refused in one line, or read as far as it goes and said so."""

from __future__ import annotations

import logging
from pathlib import Path

import av
import numpy as np
import pytest

from sentinel_assets.vision.errors import FootageDamaged, FootageError, FootageMissing, NotAVideo
from sentinel_assets.vision.frames import frames_at, probe, sample_frames
from tests.builders.clips import frame_number, remux, truncate, write_clip


def _sound_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate, sound.pts = 16000, 0
        container.mux(stream.encode(sound))
        container.mux(stream.encode(None))


def _cut_before_index(path: Path) -> None:
    write_clip(path.with_suffix(".whole.mp4"))
    truncate(path.with_suffix(".whole.mp4"), path, 0.6)  # MP4 keeps its index at the end


def _noise_for_every_packet(path: Path) -> None:
    write_clip(path.with_suffix(".whole.mp4"), frames=30)
    remux(path.with_suffix(".whole.mp4"), path, corrupt=range(30))


def _no_frames(path: Path) -> None:
    write_clip(path.with_suffix(".whole.mp4"), frames=3)
    remux(path.with_suffix(".whole.mp4"), path, drop=range(3))


def _photo(path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (64, 64)).save(path, format="JPEG")


def _list_of_videos(path: Path) -> None:
    """FFmpeg would follow it to the other file."""
    write_clip(path.with_name("other.mp4"))
    path.write_text("ffconcat version 1.0\nfile other.mp4\n")


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda path: None, FootageMissing, "no such file"),
        (lambda path: path.mkdir(), NotAVideo, "a directory"),
        (lambda path: path.touch(), NotAVideo, "empty"),
        (lambda path: path.write_text("hello\n" * 500), NotAVideo, "not a video file"),
        (_photo, NotAVideo, "not a video file"),
        (_list_of_videos, NotAVideo, "not a video file"),
        (_sound_only, NotAVideo, "without a video stream"),
        (_cut_before_index, NotAVideo, "truncated"),
        (_noise_for_every_packet, FootageDamaged, "no frame can be decoded"),
        (_no_frames, FootageError, "c.mp4"),  # a header without packets may count as either
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path: Path, capfd, make, error, says) -> None:
    path = tmp_path / "c.mp4"
    make(path)
    for read in (lambda: probe(path), lambda: list(sample_frames(path)), lambda: list(frames_at(path, [0.0]))):
        with pytest.raises(error) as caught:
            read()
        line = str(caught.value)
        assert says in line
        assert str(path) in line
        assert caught.value.remedy
        assert "\n" not in line
    assert capfd.readouterr() == ("", ""), "FFmpeg prints nothing"


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("c.mp4", {"container_options": {"movflags": "faststart"}}),
        ("c.mp4", {"container_options": {"movflags": "frag_keyframe+empty_moov"}}),
        ("c.mkv", {"b_frames": 2}),
        ("c.avi", {"codec": "mjpeg"}),
        ("c.gif", {"codec": "gif"}),
        ("c.webm", {"codec": "libvpx"}),
    ],
)
def test_a_truncated_file_gives_its_good_frames_and_says_so(tmp_path: Path, capfd, name: str, changes: dict) -> None:
    write_clip(tmp_path / f"whole-{name}", frames=200, **changes)
    truncate(tmp_path / f"whole-{name}", tmp_path / name, 0.6)
    damage: list[str] = []
    frames = list(sample_frames(tmp_path / name, on_damage=damage.append))
    assert 2 <= len(frames) < 8
    assert [frame_number(f.image) for f in frames] == [25 * i for i in range(len(frames))]
    assert any("truncated" in line for line in damage)
    assert capfd.readouterr() == ("", "")


def test_damage_is_logged_where_nobody_asks_for_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_clip(tmp_path / "whole.mkv", frames=200)
    truncate(tmp_path / "whole.mkv", tmp_path / "c.mkv", 0.5)
    with caplog.at_level(logging.WARNING):
        list(sample_frames(tmp_path / "c.mkv"))
    assert "truncated" in caplog.text


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("c.mp4", {}),
        ("c.mkv", {"b_frames": 2}),
        ("c.mp4", {"codec": "libx265", "gop": 10}),
        ("c.avi", {"codec": "mjpeg"}),
    ],
)
def test_packets_that_cannot_be_decoded_are_skipped_and_counted(tmp_path: Path, capfd, name, changes) -> None:
    """The frame of the sixth packet is wanted and cannot be had: the next one that decodes takes its place."""
    write_clip(tmp_path / f"whole-{name}", frames=60, **changes)
    remux(tmp_path / f"whole-{name}", tmp_path / name, corrupt=[5, 6])
    damage: list[str] = []
    frames = list(sample_frames(tmp_path / name, 5.0, on_damage=damage.append))
    assert frames[0].time_s == 0
    assert 10 <= len(frames) <= 12
    # From the next keyframe on all is well again.
    assert [frame_number(f.image) for f in frames if f.time_s >= 1] == [25, 30, 35, 40, 45, 50, 55]
    assert [line for line in damage if "could not be decoded" in line]
    assert capfd.readouterr() == ("", "")


def test_time_stamps_that_go_back_do_not_lose_frames(tmp_path: Path) -> None:
    """A recorder's clock is set back a second after two: the rule goes by the order in which frames are shown."""
    write_clip(tmp_path / "one.ts", frames=50)
    write_clip(tmp_path / "two.ts", frames=75, times=range(25, 100))
    (tmp_path / "both.ts").write_bytes((tmp_path / "one.ts").read_bytes() + (tmp_path / "two.ts").read_bytes())
    frames = list(sample_frames(tmp_path / "both.ts"))
    assert [f.time_s for f in frames] == pytest.approx([0, 1, 2, 3])
    assert [frame_number(f.image) for f in frames] == [0, 25, 25, 50]


def test_frames_at_refuses_times_that_the_file_does_not_have(tmp_path: Path) -> None:
    path = tmp_path / "c.mp4"
    write_clip(path, frames=50)
    for times in ([0.5, 0.5201], [1.0, 7.0]):
        with pytest.raises(FootageDamaged, match="no frame at"):
            list(frames_at(path, times))
    with pytest.raises(ValueError, match="ascend"):
        list(frames_at(path, [1.0, 0.5]))
    assert list(frames_at(path, [])) == []


@pytest.mark.parametrize("rate_hz", [0, -1, float("nan"), float("inf")])
def test_a_rate_must_be_positive(tmp_path: Path, rate_hz: float) -> None:
    with pytest.raises(ValueError, match="rate_hz"):
        list(sample_frames(tmp_path / "c.mp4", rate_hz))


def test_frames_larger_than_any_camera_gives_are_refused_before_one_is_decoded(tmp_path: Path) -> None:
    """A few kB would become gigabytes: the size of a GIF's canvas is a number in its header (GIF89a, section 18)."""
    path = tmp_path / "bomb.gif"
    write_clip(path, codec="gif", frames=2)
    content = bytearray(path.read_bytes())
    content[6:10] = (12_000).to_bytes(2, "little") * 2
    path.write_bytes(content)
    with pytest.raises(NotAVideo, match="12000x12000"):
        probe(path)
