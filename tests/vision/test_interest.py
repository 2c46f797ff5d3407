"""Who looks at which shelf, stays where, and crosses which line."""

from __future__ import annotations

from typing import Any

import pytest

from sentinel_assets.previews import footfall
from sentinel_assets.vision.behaviors import recognise_behaviors
from sentinel_assets.vision.cameras import Camera
from sentinel_assets.vision.interest import Interest, measure_interest, seconds_by_shelf
from sentinel_assets.vision.zones import Line, Zone
from tests.builders.tracks import Act, Actor, Scene, stay, walk

RATES = (1.0, 5.0, 10.0)
SHELF = Zone("drinks", "shelf", ((700, 100), (1000, 100), (1000, 520), (700, 520)))
BEHIND = Zone("sweets", "shelf", ((200, 100), (560, 100), (560, 520), (200, 520)))


def interest(actors: tuple[Actor, ...], duration_s: float, rate_hz: float, **places: Any) -> Interest:
    camera = Camera("aisle", ("*",), (1280, 720), **places)
    detections, poses = Scene(actors, duration_s, rate_hz).tables()
    behaviors = recognise_behaviors(detections, poses, camera=camera)
    return measure_interest(detections, poses, behaviors, camera=camera)


@pytest.mark.parametrize("rate_hz", RATES)
def test_who_stands_and_reaches_climbs_the_ladder_of_the_shelf_before(rate_hz: float) -> None:
    actor = stay([Act(0, "standing"), Act(5, "reaching", 0.5), Act(6.4, "standing", 0.5)], heading_deg=90)
    found = interest((actor,), 10, rate_hz, zones=(SHELF, BEHIND))
    levels = seconds_by_shelf(found.spells)
    assert set(levels) == {"drinks"}
    assert {"turning", "touching", "picking"} <= set(levels["drinks"])
    assert levels["drinks"]["turning"][1] >= 5


@pytest.mark.parametrize("rate_hz", RATES)
def test_who_walks_past_looking_ahead_views_no_shelf_beside(rate_hz: float) -> None:
    """A shelf to the side that the body does not face; one ahead is viewed, not turned to."""
    beside = Zone("bread", "shelf", ((300, 40), (1000, 40), (1000, 250), (300, 250)))
    found = interest((walk(90, 0.6, duration_s=5),), 5, rate_hz, zones=(beside, SHELF))
    assert {spell.shelf for spell in found.spells} <= {"drinks"}
    assert {spell.level for spell in found.spells} <= {"viewing"}


@pytest.mark.parametrize("rate_hz", RATES)
def test_a_line_counts_who_goes_in_and_out(rate_hz: float) -> None:
    """Upwards in the picture: to its right in image terms is the image's right for who looks up."""
    door = Line("door", (640, 720), (640, 100))
    found = interest((walk(90, 0.6), walk(270, 0.6, middle=(0.0, 8.0))), 6, rate_hz, lines=(door,))
    assert [(c.track, c.inward) for c in sorted(found.crossings, key=lambda c: c.track)] == [(1, True), (2, False)]
    assert all(2.0 <= crossing.time_s <= 4.0 for crossing in found.crossings)
    short = Line("door", (640, 100), (640, 20))
    assert interest((walk(90, 0.6),), 6, rate_hz, lines=(short,)).crossings == ()


@pytest.mark.parametrize("rate_hz", RATES)
def test_dwell_and_heat_are_seconds(rate_hz: float) -> None:
    everywhere = Zone("hall", "checkout", ((0, 0), (1280, 0), (1280, 720), (0, 720)))
    found = interest((walk(90, 0.4), stay([Act(0, "standing")], at=(1.5, 8.0))), 6, rate_hz, zones=(everywhere,))
    assert found.visitors == 1, "who never moves is a mannequin"
    assert found.heat.sum() == pytest.approx(6.0, abs=0.01)
    (dwell,) = found.stays
    assert dwell.seconds == pytest.approx(6.0 - 1 / rate_hz)


def test_the_tables_tell_all_of_it() -> None:
    actor = stay([Act(0, "standing"), Act(5, "reaching", 0.5), Act(6.4, "standing", 0.5)], heading_deg=90)
    door = Line("door", (640, 720), (640, 100))
    text = footfall.interest_tables(interest((actor, walk(90, 0.6)), 10, 5.0, zones=(SHELF,), lines=(door,)))
    for expected in ("| drinks | turning | 1 |", "| Line | In | Out |", "| door | 1 | 0 |", "visitors"):
        assert expected in text
