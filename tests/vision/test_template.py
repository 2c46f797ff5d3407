"""Sentences say what was measured, nothing else, and are found by what a person would ask."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentinel_assets.vision.errors import SentinelError
from sentinel_assets.vision.models import template
from sentinel_assets.vision.models.e5 import E5
from sentinel_assets.vision.models.template import TemplateDescriber, age_group, clock, facing, subject
from sentinel_assets.vision.protocols import EventFacts, Floats
from sentinel_assets.vision.tables import BEHAVIORS

WOMAN = EventFacts(
    "standing-1-1", "standing", 5.2, 17.4, 0.9, 1, age_low=20, age_high=30, gender="female", orientation=92
)
NOBODY = EventFacts("walking-2-1", "walking", 0.0, 0.2, 0.9, 2)


def written(event: EventFacts, language: str = "en") -> str:
    return TemplateDescriber(language).describe([event])[0].text  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("event", "english", "korean"),
    [
        # everything known
        (
            WOMAN,
            "Young woman standing still for 12 s, facing left, age 20-30, at 00:05",
            "젊은 여성이 12초 동안 가만히 서 있다, 왼쪽을 향함, 20~30세, 00:05",
        ),
        # nothing known but that someone walks, for a moment
        (NOBODY, "Person walking, at 00:00", "사람이 걷는다, 00:00"),
        # weak evidence is called so
        (
            replace(WOMAN, confidence=0.4, orientation=None),
            "Young woman possibly standing still for 12 s, age 20-30, at 00:05",
            "젊은 여성이 아마 12초 동안 가만히 서 있는 듯하다, 20~30세, 00:05",
        ),
        # beyond an hour; who lies on the floor faces nowhere
        (
            EventFacts("c", "collapse", 3723.9, 3850.0, 0.8, 1, gender="male", orientation=10),
            "Male person fallen down and lying on the floor for 2 min 6 s, at 01:02:03",
            "남성이 넘어져 쓰러진 뒤 2분 6초 동안 바닥에 누워 있다, 01:02:03",
        ),
        # a suspicion, never a verdict
        (
            EventFacts("t", "theft", 61, 65, 0.8, 3, orientation=0),
            "Person possibly stealing (theft suspected) for 4 s, for review, seen from behind, at 01:01",
            "사람이 4초 동안 물건을 훔치는 것으로 의심된다(절도), 확인 필요, 뒷모습, 01:01",
        ),
        # between two people, and without a second one
        (
            EventFacts("v", "violent", 10, 12, 0.8, 3, 4, age_low=6, age_high=10, gender="male"),
            "Boy violent, fighting with another person for 2 s, age 6-10, at 00:10",
            "남자아이가 2초 동안 다른 사람과 싸우며 폭력을 행사한다, 6~10세, 00:10",
        ),
        (
            EventFacts("v", "violent", 10, 12, 0.8, 3, None, age_low=65, age_high=80),
            "Older adult violent, hitting out for 2 s, age 65-80, at 00:10",
            "노인이 2초 동안 폭력적으로 팔을 휘두른다, 65~80세, 00:10",
        ),
    ],
)
def test_a_sentence_says_what_was_measured(event: EventFacts, english: str, korean: str) -> None:
    assert written(event) == english
    assert written(event, "ko") == korean


@pytest.mark.parametrize(
    ("behavior", "rule", "english", "korean"),
    [
        ("anomaly", "running", "Person running", "뛰는"),
        ("anomaly", "loitering", "Person loitering", "배회한다"),
        ("anomaly", "person_lying", "Person lying down", "누워"),
        ("anomaly", "unknown_posture_on_floor", "Person low on the floor", "바닥"),
        ("anomaly", "a rule of tomorrow", "Person behaving unusually", "이상한 행동"),
        ("violent", "strikes", "Person violent, hitting another person", "때리며"),
        ("violent", "shove", "Person violent, pushing another person", "밀치며"),
        ("standing", "posture", "Person standing still", "가만히 서 있다"),
    ],
)
def test_the_rule_that_found_an_event_makes_the_sentence_precise(
    behavior: str, rule: str, english: str, korean: str
) -> None:
    event = EventFacts("e", behavior, 0, 5, 0.9, 1, 2, evidence={"rule": rule})
    assert written(event).startswith(english)
    assert korean in written(event, "ko")


@pytest.mark.parametrize(
    ("low", "high", "group"),
    [
        (None, None, None),
        (20, None, None),  # half a range is none
        (4, 9, "child"),
        (14, 18, "teenager"),
        (20, 30, "young"),
        (17, 25, "young"),  # by its middle
        (40, 55, "adult"),
        (64, 78, "older"),
        (25, 60, "adult"),  # wide, but no child
        (10, 45, None),  # a child or a grown-up
    ],
)
def test_an_age_range_names_a_group_only_where_it_can(low: float | None, high: float | None, group: str | None) -> None:
    assert age_group(low, high) == group


@pytest.mark.parametrize(
    ("degrees", "quarter"),
    # as in tables.POSES: 0 is the back, 90 the image's left
    [
        (0, "away"),
        (44, "away"),
        (46, "left"),
        (90, "left"),
        (180, "camera"),
        (270, "right"),
        (316, "away"),
        (359.9, "away"),
    ],
)
def test_directions_are_those_of_the_poses_table(degrees: float, quarter: str) -> None:
    assert facing(degrees) == quarter


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "00:00"), (5.99, "00:05"), (3599.9, "59:59"), (3600, "01:00:00"), (360_000, "100:00:00")]
)
def test_times_read_as_on_a_player(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


@pytest.mark.parametrize(
    ("noun", "marked"), [("사람", "사람이"), ("아이", "아이가"), ("여성", "여성이"), ("성인 남자", "성인 남자가")]
)
def test_korean_subjects_take_the_particle_of_their_last_sound(noun: str, marked: str) -> None:
    assert subject(noun) == marked


events = st.builds(
    EventFacts,
    event_key=st.just("e-1-1"),
    behavior=st.sampled_from(BEHAVIORS),
    start_s=st.floats(0, 1e5),
    end_s=st.floats(1e5, 2e5),
    confidence=st.floats(0, 1),
    track=st.integers(1, 999),
    other_track=st.none() | st.integers(1, 999),
    age_low=st.none() | st.floats(0, 50),
    age_high=st.none() | st.floats(50, 100),
    gender=st.sampled_from(["male", "female", "unknown"]),
    orientation=st.none() | st.floats(0, 359.99),
)


@given(events)
def test_what_is_unknown_is_not_said(event: EventFacts) -> None:
    sentence = written(event)
    assert sentence == written(event)
    assert "{" not in sentence + written(event, "ko")
    assert "None" not in sentence
    assert ("age " in sentence) == (event.age_low is not None and event.age_high is not None)
    gendered = re.search(r"\b(male|female|man|woman|boy|girl)\b", sentence.lower())
    assert bool(gendered) == (event.gender != "unknown")
    turned = re.search(r"facing|from behind", sentence)
    assert bool(turned) == (event.orientation is not None and event.behavior != "collapse")
    assert ("possibly" in sentence) == (event.confidence < 0.5 or event.behavior == "theft")
    assert re.search("[가-힣]", sentence) is None


def test_what_is_no_behavior_is_refused() -> None:
    with pytest.raises(SentinelError, match="none of walking"):
        TemplateDescriber().describe([replace(NOBODY, behavior="dancing")])
    with pytest.raises(SentinelError, match="Choose en or ko"):
        TemplateDescriber("fr")  # type: ignore[arg-type]


def test_sentences_are_grounded_and_named() -> None:
    (english,), (korean,) = TemplateDescriber("en").describe([WOMAN]), TemplateDescriber("ko").describe([WOMAN])
    assert (english.language, english.grounded, TemplateDescriber("en").name) == ("en", True, "template-en")
    assert (korean.language, korean.grounded, TemplateDescriber("ko").name) == ("ko", True, "template-ko")
    assert TemplateDescriber().describe([]) == []


def _day() -> list[EventFacts]:
    """32 varied events of one day in a shop: each behavior by people of several kinds."""
    rows = [
        # behavior, gender, age range, orientation, seconds, start, confidence
        ("walking", "male", (20, 30), 90, 5, 3, 0.8),
        ("walking", "female", (60, 72), 270, 8, 20, 0.8),
        ("walking", "unknown", None, 0, 12, 40, 0.8),
        ("walking", "male", (6, 11), 180, 4, 65, 0.8),
        ("walking", "female", (22, 31), None, 6, 3700, 0.8),
        ("standing", "female", (20, 28), 180, 12, 5, 0.8),
        ("standing", "male", (40, 52), 0, 33, 50, 0.8),
        ("standing", "unknown", None, 90, 7, 80, 0.8),
        ("standing", "male", (22, 30), 270, 61, 130, 0.8),
        ("standing", "female", (62, 75), 0, 15, 220, 0.8),
        ("standing", "female", (45, 55), 90, 9, 330, 0.4),
        ("sitting", "male", (63, 74), 270, 30, 70, 0.8),
        ("sitting", "female", (24, 33), 90, 18, 90, 0.8),
        ("sitting", "unknown", None, None, 140, 200, 0.8),
        ("sitting", "male", (14, 18), 180, 11, 12, 0.8),
        ("picking", "male", (20, 30), 0, 1, 5, 0.8),
        ("picking", "female", (30, 40), 90, 2, 33, 0.8),
        ("picking", "unknown", None, 180, 1, 48, 0.4),
        ("picking", "male", (50, 58), 270, 1, 99, 0.8),
        ("picking", "female", (15, 19), 0, 1, 121, 0.8),
        ("theft", "male", (20, 28), 0, 4, 61, 0.8),
        ("theft", "unknown", None, None, 6, 302, 0.8),
        ("theft", "female", (36, 48), 90, 5, 500, 0.4),
        ("collapse", "male", (65, 78), None, 4, 15, 0.8),
        ("collapse", "unknown", None, 90, 10, 75, 0.8),
        ("collapse", "female", (28, 36), None, 22, 600, 0.8),
        ("collapse", "male", (24, 30), None, 6, 3601, 0.4),
        ("violent", "male", (20, 30), 270, 3, 44, 0.7),
        ("violent", "unknown", None, None, 2, 300, 0.4),
        ("violent", "female", (30, 40), 0, 4, 145, 0.8),
        ("anomaly", "unknown", None, None, 30, 410, 0.8),
        ("anomaly", "male", (30, 42), 90, 5, 15, 0.6),
    ]
    return [
        EventFacts(
            f"{behavior}-{track}-1",
            behavior,
            start,
            start + lasts,
            confidence,
            track,
            track + 1 if behavior == "violent" else None,
            *(ages or (None, None)),
            gender=gender,
            orientation=direction,
        )
        for track, (behavior, gender, ages, direction, lasts, start, confidence) in enumerate(rows, 1)
    ]


@pytest.fixture(scope="module")
def e5() -> E5:
    return E5()


@pytest.fixture(scope="module", params=["en", "ko"])
def sentences(request: pytest.FixtureRequest, e5: E5) -> tuple[list[str], Floats]:
    """The day's sentences in one language, and their vectors."""
    texts = [written(event, request.param) for event in _day()]
    return texts, e5.encode_passages(texts)


@pytest.mark.parametrize(
    ("question", "behavior", "gender"),
    [
        ("someone fell down", "collapse", None),
        ("person lying on the floor", "collapse", None),
        ("바닥에 누워 있는 사람", "collapse", None),
        ("쓰러진 사람", "collapse", None),
        ("a person sitting", "sitting", None),
        ("앉아 있는 노인", "sitting", "male"),
        ("물건을 집는 남자", "picking", "male"),
        ("man picking up an item", "picking", "male"),
        ("물건을 집는 여자", "picking", "female"),
        ("young woman standing", "standing", "female"),
        ("a fight between two people", "violent", None),
        ("싸우는 사람들", "violent", None),
        ("shoplifting", "theft", None),
        ("물건을 훔치는 사람", "theft", None),
        ("boy walking", "walking", "male"),
        ("이상한 행동", "anomaly", None),
    ],
)
def test_what_a_person_asks_for_comes_first(
    e5: E5, sentences: tuple[list[str], Floats], question: str, behavior: str, gender: str | None
) -> None:
    """In both languages, of the questions and of the sentences."""
    texts, vectors = sentences
    best = int(np.argmax(vectors @ e5.encode_queries([question])[0]))
    first = _day()[best]
    assert first.behavior == behavior, texts[best]
    assert gender in (None, first.gender), texts[best]


def test_every_phrase_of_a_rule_belongs_to_a_rule_that_exists() -> None:
    """A rule that is renamed would silently fall back to the words of its behavior."""
    rules = {key.split(": ")[1] for key in (*template._DOES_EN, *template._DOES_KO) if ": " in key}
    folder = Path(template.__file__).parent.parent
    sources = "".join(path.read_text() for path in sorted(folder.glob("*.py")))
    assert {rule for rule in rules | {*template._LYING_RULES} if f'rule="{rule}"' not in sources} == {"alone"}
