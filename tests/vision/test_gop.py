"""The plan picks what the plain rule picks, and asks for all that the decoder needs and nothing out of order."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentinel_assets.vision.gop import REORDER_WINDOW, AtRate, AtTimes, GroupPlan, PlanError, SamplingRule, Step

BASE = Fraction(1, 1000)


@dataclass(frozen=True)
class Packet:
    place: int  # in decode order
    pts: int
    group: int
    starts_group: bool
    leading: bool


def plain(rule: SamplingRule, stamps: list[int]) -> list[int]:
    """The rule over all frames, in presentation order: what a reader that decodes everything gives."""
    return [pts for pts in stamps if rule.take(pts - stamps[0])]


def run(plan: GroupPlan[Packet], packets: list[Packet]) -> list[Step[Packet]]:
    steps = [step for p in packets for step in plan.add(p, p.pts, starts_group=p.starts_group, size=100)]
    return steps + list(plan.finish())


@st.composite
def videos(draw: st.DrawFn) -> list[Packet]:
    """Packets in decode order: groups with reordered pictures, some of which are shown before their access point."""
    packets: list[Packet] = []
    now = draw(st.integers(-5000, 5000))
    for group in range(draw(st.integers(1, 5))):
        leading_count = draw(st.integers(0, 3)) if group else 0
        steps = draw(st.lists(st.integers(1, 900), min_size=leading_count + 1, max_size=leading_count + 12))
        stamps = []
        for step in steps:
            now += step
            stamps.append(now)
        leading, (point, *trailing) = stamps[:leading_count], stamps[leading_count:]
        # Reordered within runs of four, as B-frames are: the last of a run is decoded first.
        mixed = [s for i in range(0, len(trailing), 4) for s in draw(st.permutations(trailing[i : i + 4]))]
        for place, pts in enumerate([point, *draw(st.permutations(leading)), *mixed]):
            packets.append(Packet(len(packets), pts, group, place == 0, pts < point))
    return packets


rules = st.one_of(
    st.floats(0.05, 30).map(lambda rate: lambda: AtRate(rate, BASE)),
    st.lists(st.floats(0, 20), min_size=1, max_size=8).map(lambda times: lambda: AtTimes(sorted(times), BASE)),
)


@settings(max_examples=120, deadline=None)
@given(packets=videos(), make_rule=rules)
def test_the_plan_selects_what_the_plain_rule_selects(packets: list[Packet], make_rule) -> None:
    """And what is decoded, shown to the rule by itself, gives the same frames: that is what the reader relies on."""
    plan: GroupPlan[Packet] = GroupPlan(make_rule())
    steps = run(plan, packets)
    expected = plain(make_rule(), sorted(p.pts for p in packets))
    assert list(plan.wanted) == expected
    decoded = sorted(step.packet.pts for step in steps)
    assert decoded[0] == plan.first == min(p.pts for p in packets)
    assert plain(make_rule(), decoded) == expected


@settings(max_examples=120, deadline=None)
@given(packets=videos(), make_rule=rules)
def test_what_a_wanted_picture_may_refer_to_is_decoded_before_it(packets: list[Packet], make_rule) -> None:
    plan: GroupPlan[Packet] = GroupPlan(make_rule())
    steps = run(plan, packets)
    places = [step.packet.place for step in steps]
    assert places == sorted(set(places)), "in decode order, each once"
    for wanted in (p for p in packets if p.pts in plan.wanted):
        needed = {
            p.place
            for p in packets
            if p.place <= wanted.place
            and (
                (p.group == wanted.group and (wanted.leading or not p.leading))
                or (wanted.leading and p.group == wanted.group - 1 and not p.leading)
            )
        }
        assert needed <= set(places)
        assert not next(step for step in steps if step.packet is wanted).droppable


@settings(max_examples=120, deadline=None)
@given(packets=videos(), make_rule=rules)
def test_nothing_behind_the_last_wanted_picture_of_a_group_is_decoded(packets: list[Packet], make_rule) -> None:
    """Unless the next group has a wanted picture that is shown before its access point, and refers to this group."""
    plan: GroupPlan[Packet] = GroupPlan(make_rule())
    steps = run(plan, packets)
    wanted = [p for p in packets if p.pts in plan.wanted or p.pts == plan.first]
    for step in steps:
        packet = step.packet
        assert any(w.group == packet.group and w.place >= packet.place for w in wanted) or any(
            w.leading and w.group == packet.group + 1 for w in wanted
        )


@settings(max_examples=120, deadline=None)
@given(packets=videos(), make_rule=rules)
def test_a_jump_is_marked_on_the_access_point_behind_it(packets: list[Packet], make_rule) -> None:
    steps = run(GroupPlan(make_rule()), packets)
    for before, step in pairwise(steps):
        left_out = [p for p in packets[before.packet.place + 1 : step.packet.place] if not p.leading]
        assert step.jumped == bool(left_out)
        assert step.packet.starts_group or not step.jumped


@settings(max_examples=120, deadline=None)
@given(stamps=st.lists(st.integers(-200, 2000), min_size=1, max_size=120), make_rule=rules)
def test_arbitrary_time_stamps_are_refused_or_right(stamps: list[int], make_rule) -> None:
    """Duplicate, descending, scattered: where the plan goes through, it selects what the plain rule does."""
    packets = [Packet(i, pts, 0, i == 0, False) for i, pts in enumerate(stamps)]
    plan: GroupPlan[Packet] = GroupPlan(make_rule())
    try:
        run(plan, packets)
    except PlanError:
        return
    assert list(plan.wanted) == plain(make_rule(), sorted(stamps))


@pytest.mark.parametrize(
    ("stamps", "starts"),
    [
        ([0, 40, 40, 80], {0}),  # two pictures at one time
        ([*range(0, 4000, 40), 40], {0}),  # the clock goes back
        ([0, 40, 80, 60, 120], {0, 3}),  # an access point before what was already shown
        ([80, 0, 40, 120], {0}),  # begins with pictures that refer to what is not there
        ([0, 40, 80], set()),  # no access point at all
    ],
)
def test_time_stamps_that_contradict_themselves_are_refused(stamps: list[int], starts: set[int]) -> None:
    packets = [Packet(place, pts, 0, place in starts, False) for place, pts in enumerate(stamps)]
    with pytest.raises(PlanError):
        run(GroupPlan(AtRate(1, BASE)), packets)


def test_a_group_is_decoded_up_to_its_last_wanted_picture() -> None:
    """25 pictures a second, one wanted a second, 50 a group: 26 of 50 are needed."""
    packets = [Packet(i, 40 * i, i // 50, i % 50 == 0, False) for i in range(500)]
    steps = run(GroupPlan(AtRate(1, BASE)), packets)
    assert [s.packet.place for s in steps] == [i for i in range(500) if i % 50 <= 25]
    assert sum(not s.droppable for s in steps) == 20


def test_packets_of_an_endless_group_are_not_all_held_back() -> None:
    """One wanted picture in a day, one access point: what is undecided is bounded, whatever the file's length."""
    plan: GroupPlan[int] = GroupPlan(AtRate(1 / 86400, BASE))
    most_held = held = 0
    for place in range(3000):
        released = len(list(plan.add(place, 40 * place, starts_group=place == 0, size=100_000)))
        held += 1 - released
        most_held = max(most_held, held)
    assert REORDER_WINDOW < most_held < 400


@pytest.mark.parametrize(
    ("rate", "stamps", "taken"),
    [
        (1, [0, 999, 1000, 1001, 2000], [0, 1000, 2000]),  # at the second exactly, not after it
        (1, [0, 1040, 1080, 5300, 5400, 6000], [0, 1040, 5300, 6000]),  # 5300 serves 2, 3, 4 and 5, and is taken once
        (10, [0, 33, 67, 100, 133, 167, 200], [0, 100, 200]),
        (0.1, [0, 9999, 10000, 20000], [0, 10000, 20000]),  # a decimal rate is meant as it is written
        (29.97, [0, 33, 34, 67], [0, 34, 67]),  # k / 29.97 = 33.37 ms, 66.73 ms
        (1000, [0, 7, 8], [0, 7, 8]),  # faster than the video: every frame
    ],
)
def test_the_rule_takes_the_first_frame_at_or_after_each_sample_time(
    rate: float, stamps: list[int], taken: list[int]
) -> None:
    assert plain(AtRate(rate, BASE), stamps) == taken
