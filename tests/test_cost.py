"""What videos cost: the formula, its inputs, and that infra/README.md shows what the command prints."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sentinel_assets.cli import cli
from sentinel_assets.cost import (
    DAYS,
    FIXED,
    INPUTS,
    MARGIN,
    PREDECESSOR_USD_MONTH,
    PREDECESSOR_USD_VIDEO,
    VOLUMES,
    Basis,
    Terms,
    cost,
)
from sentinel_assets.vision.errors import SentinelError

README = (Path(__file__).resolve().parents[1] / "infra/README.md").read_text()


def _run(*options: str) -> str:
    done = CliRunner().invoke(cli, ["cost", *options])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.parametrize(
    ("videos", "terms", "seconds"),
    [
        # rare: each video boots a host, and pays for its whole idle time
        (0.001, Terms(work_s=60), 11.8 + 60 + 90 + 300),
        (0.001, Terms(work_s=60, baked=False), 11.8 + 60 + 225 + 300),
        # so many that no host ever idles: work alone
        (1e9, Terms(work_s=60), 11.8 + 60),
        # the start of a job is shared by its videos
        (1e9, Terms(work_s=60, videos_per_job=10), 1.18 + 60),
        (0.001, Terms(work_s=60, videos_per_job=10), 1.18 + 60 + 9 + 30),
    ],
)
def test_host_seconds_at_the_ends(videos: float, terms: Terms, seconds: float) -> None:
    assert cost(videos, terms).host_s == pytest.approx(seconds, rel=1e-3)


def test_more_videos_are_cheaper_each() -> None:
    prices = [cost(10**n, Terms()).usd_per_video for n in range(6)]
    assert prices == sorted(prices, reverse=True)


def test_money_is_seconds_times_price() -> None:
    at = cost(100, Terms())
    assert at.usd_per_video == pytest.approx(at.host_s / 3600 * (1.006 + 0.011))
    assert at.usd_per_month == pytest.approx(at.usd_per_video * 100 * DAYS)
    assert cost(100, Terms(spot=True)).usd_per_video == pytest.approx(at.usd_per_video * 0.461 / 1.017)


@pytest.mark.parametrize("videos", [*VOLUMES, 50])
def test_cheaper_than_the_predecessor_at_every_volume(videos: float) -> None:
    """Counted as a job is, and with idle hosts counted on both sides; each with the formula's margin on our side."""
    ours = cost(videos, Terms())
    assert ours.usd_per_video_without_idle * MARGIN < PREDECESSOR_USD_VIDEO[0]
    assert ours.usd_per_video_without_idle * 2 < PREDECESSOR_USD_VIDEO[0]
    assert ours.usd_per_video * (MARGIN if 100 < videos < 10_000 else 1) < ours.predecessor_with_idle[0]
    assert (ours.usd_per_video * MARGIN < PREDECESSOR_USD_VIDEO[0]) == (videos >= 1_000)
    if videos in PREDECESSOR_USD_MONTH:
        assert ours.usd_per_video_without_idle * videos * DAYS < PREDECESSOR_USD_MONTH[int(videos)][0]


def test_the_predecessors_months_are_its_price_times_thirty_days() -> None:
    """So nothing that runs all the time is in them, and they are compared with GPU hosts alone."""
    for videos, span in PREDECESSOR_USD_MONTH.items():
        for price, month in zip(PREDECESSOR_USD_VIDEO, span, strict=True):
            assert price * videos * 30 == pytest.approx(month, rel=0.05)


def test_each_input_names_its_source() -> None:
    for name, one in {**INPUTS, **FIXED}.items():
        assert len(one.source) > 15, name
    assert {name for name, one in INPUTS.items() if one.basis is Basis.MEASURED} == {"decode_s", "load_s"}


@pytest.mark.parametrize("value", [-1.0, 0.0, math.nan, math.inf])
def test_what_is_no_amount_is_refused(value: float) -> None:
    with pytest.raises(SentinelError):
        cost(value, Terms())
    with pytest.raises(SentinelError):
        Terms(host_usd_h=value)


def test_json_has_all_that_is_printed() -> None:
    made: dict[str, Any] = json.loads(_run("1", "1000", "--json", "--spot", "--host-price", "0.6"))
    assert [row["videos_per_day"] for row in made["volumes"]] == [1, 1000]
    assert made["terms"]["usd_per_host_hour"] == pytest.approx(0.611)
    assert made["inputs"]["decode_s"]["basis"] == "measured"


@pytest.mark.parametrize("arguments", [["0"], ["-5"], ["--host-price", "0"], ["--videos-per-job", "0"]])
def test_misuse_is_refused(arguments: list[str]) -> None:
    assert CliRunner().invoke(cli, ["cost", *arguments]).exit_code == 2


def test_the_readme_shows_what_the_command_prints() -> None:
    (shown,) = re.findall(r"^```\n(A 5-minute video .*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    printed = _run()
    assert [line.rstrip() for line in shown.splitlines()] == [
        line.rstrip() for line in printed.split("\nInput ")[0].rstrip().splitlines()
    ]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", README, flags=re.MULTILINE)
    assert rows == [(name, f"{one.value:g} {one.unit}", str(one.basis), one.source) for name, one in INPUTS.items()]


def test_the_sentences_of_the_readme_are_the_calculators() -> None:
    text = " ".join(README.split())
    one, twenty = cost(100, Terms()), cost(100, Terms(videos_per_job=20))
    assert (
        f"`--videos-per-job 20`: ${twenty.usd_per_video:.3f} a video at 100 a day instead of ${one.usd_per_video:.3f}"
        in text
    )
    worst = max(cost(videos, Terms()).usd_per_video_without_idle for videos in VOLUMES)
    assert f"cold start and work: ${worst:.3f} at most" in text
    saved = Terms(baked=False).cold_s - Terms().cold_s
    assert f"It saves {saved:.0f} s of each host's start" in text
    assert f"${saved / 3600 * Terms().usd_h:.3f} each time" in text
