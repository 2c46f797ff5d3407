"""What zones change: a reach at a shelf, a way past the checkout, a place or an hour where nobody should be."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sentinel_assets.vision.behaviors import BehaviorParameters, recognise_behaviors
from sentinel_assets.vision.cameras import Camera
from sentinel_assets.vision.errors import SentinelError
from sentinel_assets.vision.zones import Line, Zone, apart_deg, bearing
from tests.builders.tracks import Act, Actor, Scene, stay, walk

RATES = (1.0, 5.0, 10.0)
FRAME = (1280, 720)
SHELF = Zone("drinks", "shelf", ((700, 100), (1000, 100), (1000, 520), (700, 520)))
REACHES = stay([Act(0, "standing"), Act(3, "reaching", 0.5), Act(4.2, "standing", 0.5)], heading_deg=90)


def camera(*zones: Zone, **others: Any) -> Camera:
    return Camera("aisle", ("*",), FRAME, zones, **others)


def box(name: str, kind: str, x1: float, y1: float, x2: float, y2: float) -> Zone:
    return Zone(name, kind, ((x1, y1), (x2, y1), (x2, y2), (x1, y2)))


def find(actors: tuple[Actor, ...], duration_s: float, rate_hz: float, **options: Any) -> pd.DataFrame:
    return recognise_behaviors(*Scene(actors, duration_s, rate_hz).tables(), **options)


def evidence(frame: pd.DataFrame, behavior: str) -> dict[str, Any]:
    (row,) = frame[frame["behavior"] == behavior].to_dict("records")
    return dict(json.loads(row["evidence"]))


def rules(frame: pd.DataFrame) -> list[str]:
    return [json.loads(text)["rule"] for text in frame["evidence"]]


@pytest.mark.parametrize("rate_hz", RATES)
def test_a_reach_into_a_shelf_names_it_and_is_believed_more(rate_hz: float) -> None:
    plain, zoned = find((REACHES,), 9, rate_hz), find((REACHES,), 9, rate_hz, camera=camera(SHELF))
    confidences = [frame.loc[frame["behavior"] == "picking", "confidence"].iloc[0] for frame in (plain, zoned)]
    assert confidences[1] > confidences[0]
    found = evidence(zoned, "picking")
    assert found["values"]["shelf"] == "drinks"
    assert found["values"]["facing_shelf_deg"] <= 45
    assert found["camera"] == "aisle"
    assert "note" not in found


@pytest.mark.parametrize("rate_hz", RATES)
def test_a_reach_that_ends_at_no_shelf_is_no_picking(rate_hz: float) -> None:
    """The shelf is behind the person's back."""
    behind = box("drinks", "shelf", 200, 100, 480, 520)
    assert "picking" not in set(find((REACHES,), 9, rate_hz, camera=camera(behind))["behavior"])


@pytest.mark.parametrize(("yaw", "expected"), [(0.0, 90), (90.0, 180), (300.0, 30), (None, None)])
def test_where_a_camera_looks_tells_where_a_person_faces_on_the_plan(yaw: float | None, expected: float | None) -> None:
    """To the right of the picture is a quarter turn on from where the camera looks."""
    found = evidence(find((REACHES,), 9, 5.0, camera=camera(SHELF, yaw_deg=yaw)), "picking")["values"]
    assert found.get("facing_on_plan_deg") == (None if expected is None else pytest.approx(expected, abs=15))


def hides(path: tuple[tuple[float, float, float], ...]) -> Actor:
    """Reaches, puts the hand to the hip until 9 s, and is where the path says."""
    steps = [Act(0, "standing"), Act(3, "reaching", 0.5), Act(4.2, "concealing", 0.5), Act(9, "walking", 0.5)]
    return Actor(path, tuple(steps), 110.0)


LEAVES = ((0.0, 0.0, 7.0), (9.0, 0.0, 7.0), (13.0, -2.6, 7.0))
PAYS = ((0.0, 0.0, 7.0), (9.0, 0.0, 7.0), (10.0, -0.8, 7.0), (15.0, -0.8, 7.0), (18.0, -2.6, 7.0))
EXIT = box("door", "exit", 0, 380, 480, 720)
TILL = box("till", "checkout", 490, 380, 590, 720)


@pytest.mark.parametrize("rate_hz", RATES)
def test_who_hides_and_leaves_past_the_checkout_is_suspected_more_and_who_stays_there_is_not(rate_hz: float) -> None:
    p = BehaviorParameters()
    shop = camera(SHELF, EXIT, TILL)
    plain = find((hides(LEAVES),), 13.2, rate_hz)
    unpaid = find((hides(LEAVES),), 13.2, rate_hz, camera=shop)
    stays = find((hides(LEAVES[:2]),), 13.2, rate_hz, camera=shop)
    paid = find((hides(PAYS),), 18.2, rate_hz, camera=shop)
    suspicion = {
        name: frame.loc[frame["behavior"] == "theft", "confidence"].tolist()
        for name, frame in (("plain", plain), ("unpaid", unpaid), ("stays", stays), ("paid", paid))
    }
    assert suspicion["plain"][0] <= p.theft_confidence
    assert suspicion["stays"][0] <= p.theft_confidence
    assert p.theft_confidence < suspicion["unpaid"][0] <= p.unpaid_confidence
    assert suspicion["paid"] == []
    found = evidence(unpaid, "theft")
    assert (found["values"]["left_by"], found["values"]["at_checkout_s"] < 3) == ("door", True)
    assert unpaid.loc[unpaid["behavior"] == "theft", "needs_review"].all()


@pytest.mark.parametrize("rate_hz", RATES)
def test_nobody_collapses_on_a_seat(rate_hz: float) -> None:
    actors = (stay([Act(0, "standing"), Act(3, "lying", 0.8)], heading_deg=90),)
    bench = box("bench", "seat", 300, 300, 1000, 720)
    assert "collapse" in set(find(actors, 9, rate_hz, camera=camera())["behavior"])
    found = find(actors, 9, rate_hz, camera=camera(bench))
    assert "collapse" not in set(found["behavior"])
    assert evidence(found, "anomaly")["note"] == "lies on the seat bench"


STORE_ROOM = box("store room", "restricted", 640, 300, 1280, 720)


@pytest.mark.parametrize("rate_hz", RATES)
@pytest.mark.parametrize(("heading", "speed", "expected"), [(90, 0.6, True), (0, 0.6, False)])
def test_the_restricted_zone_is_for_nobody(rate_hz: float, heading: int, speed: float, expected: bool) -> None:
    """Across the picture leads into it; straight away from the camera, left of it, does not."""
    actors = (walk(heading, speed, middle=(0.0 if expected else -1.5, 7.0)),)
    found = find(actors, 6, rate_hz, camera=camera(STORE_ROOM))
    assert ("restricted_zone" in rules(found)) == expected
    assert "restricted_zone" not in rules(find(actors, 6, rate_hz))


def test_a_mannequin_in_a_restricted_zone_is_nobody() -> None:
    still = (stay([Act(0, "standing")], at=(1.0, 7.0)),)
    assert "restricted_zone" not in rules(find(still, 12, 1.0, camera=camera(STORE_ROOM)))


@pytest.mark.parametrize(
    ("started", "alarmed"),
    [
        (datetime(2025, 6, 2, 22, 59, 50), True),  # Monday: closes ten seconds later
        (datetime(2025, 6, 2, 22, 30), False),
        (datetime(2025, 6, 8, 12, 0), True),  # Sunday: closed
        (datetime(2025, 6, 7, 1, 0), False),  # Friday night's hours reach into Saturday
        (datetime(2025, 6, 7, 2, 30), True),
    ],
)
def test_after_hours_is_when_the_store_is_closed(started: datetime, alarmed: bool) -> None:
    hours = Camera.from_mapping(
        "aisle",
        {
            "videos": ["*"],
            "frame": [1280, 720],
            "opening_hours": {"mon-thu": "07:00-23:00", "fri": "07:00-02:00", "sat": "09:00-18:00", "sun": "closed"},
        },
        where="aisle.yaml",
    )
    actors = (walk(90, 0.2, duration_s=16),)
    found = find(actors, 16, 1.0, camera=hours, recorded_at=started)
    assert ("after_hours" in rules(found)) == alarmed
    assert "after_hours" not in rules(find(actors, 16, 1.0, camera=hours))


def test_more_people_than_the_limit_are_a_crowd() -> None:
    walkers = tuple(walk(90, 0.3, middle=(0.8 * i - 1.6, 7.0 + 0.4 * i), duration_s=8) for i in range(4))
    few, many = (camera(rules=(("crowd", limit),)) for limit in (4.0, 3.0))
    assert rules(find(walkers, 8, 1.0, camera=few)).count("crowd") == 0
    assert rules(find(walkers, 8, 1.0, camera=many)).count("crowd") == 1


def test_of_alarms_that_follow_each_other_the_first_asks_for_review() -> None:
    """Two people in a forbidden place within the cooldown, and without one."""
    actors = (walk(90, 0.6), walk(90, 0.5, middle=(0.4, 8.0)))
    cooled = find(actors, 6, 5.0, camera=camera(STORE_ROOM))
    eager = find(actors, 6, 5.0, camera=camera(STORE_ROOM, rules=(("cooldown_s", 0.0),)))
    asks = [frame[[r == "restricted_zone" for r in rules(frame)]]["needs_review"].tolist() for frame in (cooled, eager)]
    assert sorted(asks[0]) == [False, True]
    assert len(asks[1]) == 2


def test_two_who_fall_are_two_alarms() -> None:
    falls = [Act(0, "standing"), Act(3, "lying", 0.8)]
    actors = (stay(falls, at=(-1.0, 7.0)), stay([*falls[:1], Act(4, "lying", 0.8)], at=(1.2, 7.0)))
    found = find(actors, 10, 5.0, camera=camera())
    assert (found["behavior"] == "collapse").sum() == 2


def test_time_at_the_checkout_is_not_loitering() -> None:
    actors = (walk(90, 0.02, duration_s=40),)
    limits: dict[str, Any] = {"rules": (("loitering_s", 30.0),)}
    everywhere = box("till", "checkout", 0, 0, 1280, 720)
    assert "loitering" in rules(find(actors, 40, 1.0, camera=camera(**limits)))
    assert "loitering" not in rules(find(actors, 40, 1.0, camera=camera(everywhere, **limits)))


def test_zones_follow_the_size_of_the_video() -> None:
    """Measured on 640x360, used on 1280x720."""
    half = replace(camera(SHELF.scaled(0.5, 0.5)), frame=(640, 360))
    pd.testing.assert_frame_equal(
        find((REACHES,), 9, 5.0, camera=half), find((REACHES,), 9, 5.0, camera=camera(SHELF)), rtol=1e-6
    )


def test_distance_and_inside_agree_with_the_plane() -> None:
    square = box("s", "shelf", 10, 10, 20, 20)
    points = np.array([[15.0, 15.0], [25.0, 15.0], [23.0, 24.0], [np.nan, 3.0]])
    assert square.contains(points).tolist() == [True, False, False, False]
    np.testing.assert_allclose(square.distance(points), [0, 5, 5, np.nan])


def test_the_inside_of_a_line_is_to_its_right() -> None:
    """From left to right in the picture: the right hand is below."""
    assert (Line("door", (0, 10), (20, 10)).side(np.array([[5.0, 15.0], [5.0, 5.0]])) == [5, -5]).all()


@pytest.mark.parametrize(
    ("target", "expected"), [((100, 50), 0), ((50, 100), 90), ((100, 150), 180), ((150, 100), 270)]
)
def test_bearings_are_orientations(target: tuple[float, float], expected: float) -> None:
    found = bearing(np.array([[100.0, 100.0]]), target, 0.5)
    assert float(apart_deg(found, np.array([expected]))[0]) < 1e-6


GOOD: dict[str, Any] = {
    "videos": ["aisle-*.mp4", "s3://footage/7/*"],
    "frame": [1280, 720],
    "yaw_deg": 90,
    "recorded": "aisle-%Y%m%d-%H%M%S",
    "zones": [
        {"name": "drinks", "kind": "shelf", "polygon": [[0, 0], [100, 0], [100, 100]], "bearing_deg": 0},
    ],
    "lines": [{"name": "door", "from": [0, 700], "to": [300, 700]}],
    "rules": {"loitering_s": 120},
}


def test_a_camera_is_read_and_knows_its_videos_and_their_time() -> None:
    read = Camera.from_mapping("aisle", GOOD, where="aisle.yaml")
    assert read.zones[0].bearing_deg == 90  # who looks to the plan's top while the camera looks right faces left
    assert read.parameters(BehaviorParameters()).loitering_s == 120
    assert read.films("aisle-20250602-070000.mp4", "/x")
    assert read.films("original.mp4", "s3://footage/7/original.mp4")
    assert not read.films("door.mp4", "/x/door.mp4")
    assert read.recorded_at("aisle-20250602-070000.mp4") == datetime(2025, 6, 2, 7)
    assert read.recorded_at("aisle-20250230-070000.mp4") is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"zone": []}, "'zone' that means nothing. Did you mean zones?"),
        ({"frame": [1280]}, "expected 2 numbers"),
        ({"videos": []}, "Write patterns of names"),
        ({"recorded": "%H:%M"}, "recorded is '%H:%M'"),
        ({"yaw_deg": None}, "'drinks' has a bearing on the store's plan, and the camera none"),
        ({"zones": [{"name": "a", "kind": "shelf", "polygon": [[0, 0], [2000, 0], [0, 9]]}]}, "outside of the frame"),
        ({"zones": [{"name": "a", "kind": "shlef", "polygon": [[0, 0], [9, 0], [0, 9]]}]}, "'shlef' is none of shelf"),
        ({"zones": [{"name": "a", "kind": "exit", "polygon": [[0, 0], [9, 0]]}]}, "at least 3"),
        ({"zones": [{"name": "a", "kind": "exit", "polygon": [[0, 0], [9, 9], [5, 5]]}]}, "no area"),
        ({"zones": [{"kind": "exit", "polygon": [[0, 0], [9, 0], [0, 9]]}]}, "zone 1 has no name"),
        ({"lines": [{"name": "drinks", "from": [0, 0], "to": [9, 9]}]}, "two places are called 'drinks'"),
        ({"lines": [{"name": "door", "from": [5, 5], "to": [5, 5]}]}, "same point"),
        ({"rules": {"loitering": 5}}, "Did you mean loitering_s?"),
        ({"rules": {"loitering_s": "long"}}, "expected a number"),
        ({"rules": {"walking_leave": 9}}, "must be less than walking_enter"),
        ({"opening_hours": {"monday": "07:00-23:00"}}, "or a span such as mon-fri"),
        ({"opening_hours": {"mon": "7-23"}}, "in quotes, or closed"),
        ({"opening_hours": {"mon": "07:00-25:00"}}, "opening_hours of '07:00-25:00'"),
    ],
)
def test_a_bad_camera_says_what_and_where(change: dict[str, Any], says: str) -> None:
    with pytest.raises(SentinelError) as caught:
        Camera.from_mapping("aisle", {**GOOD, **change}, where="aisle.yaml")
    assert says in str(caught.value)
    assert str(caught.value).startswith("aisle.yaml: ")
