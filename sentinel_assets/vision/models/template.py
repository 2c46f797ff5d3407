"""Events in sentences, every word of which comes from a measured fact: no model, no guess.

What was not measured is left out: a person whose gender is unknown is a person, one whose age is unknown has none.
The sentences are what semantic search compares, so each begins with what tells events apart (what happens, who), and
nothing is said in all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from sentinel_assets.vision.errors import SentinelError
from sentinel_assets.vision.protocols import Description, EventFacts
from sentinel_assets.vision.tables import BEHAVIORS

Language = Literal["en", "ko"]

LOW_CONFIDENCE = 0.5
"""Below this the sentence says `possibly`: the rule had less than even evidence."""

AGE_GROUPS = (("child", 0, 13), ("teenager", 13, 20), ("young", 20, 35), ("adult", 35, 60), ("older", 60, 200))
"""Name, first year, first year after. The ends of 20-34 and 60+ follow the usual cuts of population statistics
(UN DESA, Provisional Guidelines on Standard International Age Classifications, 1982)."""

MAX_AGE_SPAN = 25.0
"""Years. A wider range names no group narrower than adult."""

_LYING_RULES = ("person_lying", "unknown_posture_on_floor")
_GENDERS = {"unknown": 0, "male": 1, "female": 2}


class TemplateDescriber:
    """A grounded Describer in English (`en`) or Korean (`ko`); the same facts always give the same sentence."""

    def __init__(self, language: Language = "en") -> None:
        writers = {"en": _english, "ko": _korean}
        if language not in writers:
            raise SentinelError(f"no template speaks {language!r}", where="describer", remedy="Choose en or ko")
        self.language = language
        self.name = f"template-{language}"
        self._write = writers[language]

    def describe(self, events: Sequence[EventFacts]) -> list[Description]:
        """One sentence for each event, in order. Raises SentinelError for a behavior that is none of the eight."""
        for event in events:
            if event.behavior not in BEHAVIORS:
                raise SentinelError(f"{event.behavior!r} is none of {', '.join(BEHAVIORS)}", where=event.event_key)
        return [Description(self._write(event), self.language, grounded=True) for event in events]


def age_group(low: float | None, high: float | None) -> str | None:
    """The group of AGE_GROUPS in which the middle of the range lies; None when unknown, or when the range is so wide
    that it may hold children and adults alike; `adult` when it is wide but of grown-ups only."""
    if low is None or high is None:
        return None
    middle = (low + high) / 2
    group = next((name for name, first, after in AGE_GROUPS if first <= middle < after), None)
    if high - low <= MAX_AGE_SPAN:
        return group
    return "adult" if low >= 18 else None


def clock(seconds: float) -> str:
    """`mm:ss`, or `hh:mm:ss` from an hour on; seconds are cut, as players show them."""
    minutes, second = divmod(int(max(seconds, 0.0)), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02d}:{minute:02d}:{second:02d}" if hour else f"{minute:02d}:{second:02d}"


def facing(orientation: float | None) -> str | None:
    """`away`, `left`, `camera` or `right`: the quarter that the body faces; None when unknown. Quarters are what
    orientation carries: published models err by 10-20 degrees, keypoints by more."""
    if orientation is None:
        return None
    return ("away", "left", "camera", "right")[int(((orientation + 45) % 360) // 90)]


@dataclass(frozen=True)
class _Phrase:
    """What a person does, said outright and said of weak evidence; `{duration}` stands where the length goes."""

    surely: str
    possibly: str


def _duration(event: EventFacts, hour: str, minute: str, second: str) -> str:
    """How long the event lasted, to the second; empty when it was shorter than half a second."""
    total = int(event.end_s - event.start_s + 0.5)
    parts = ((total // 3600, hour), (total // 60 % 60, minute), (total % 60, second))
    return " ".join(f"{count}{unit}" for count, unit in parts if count)


def _phrase(event: EventFacts, phrases: Mapping[str, _Phrase]) -> str:
    """The phrase of the rule that found the event, where there is one, else that of the behavior."""
    detail = "alone" if event.behavior == "violent" and event.other_track is None else event.evidence.get("rule")
    phrase = phrases.get(f"{event.behavior}: {detail}") or phrases[event.behavior]
    return phrase.surely if event.confidence >= LOW_CONFIDENCE else phrase.possibly


def _faces(event: EventFacts) -> str | None:
    """Not said of who lies on the floor: there an angle seen by a camera means nothing to a reader."""
    lies = event.behavior == "collapse" or event.evidence.get("rule") in _LYING_RULES
    return None if lies else facing(event.orientation)


# English. The participles, the order and the synonyms are those that multilingual E5 tells apart best among the ones
# tried (30 queries in English and Korean over 32 events; tests/vision/test_template.py holds the outcome).

_WHO_EN = {
    # age group: person of unknown gender, male, female
    None: ("person", "male person", "female person"),
    "child": ("child", "boy", "girl"),
    "teenager": ("teenager", "teenage boy", "teenage girl"),
    "young": ("young adult", "young man", "young woman"),
    "adult": ("adult", "man", "woman"),
    "older": ("older adult", "older man", "older woman"),
}
_DOES_EN = {
    "walking": _Phrase("walking{duration}", "possibly walking{duration}"),
    "standing": _Phrase("standing still{duration}", "possibly standing still{duration}"),
    "sitting": _Phrase("sitting{duration}", "possibly sitting{duration}"),
    "picking": _Phrase(
        "reaching out a hand as if picking up an item{duration}",
        "possibly reaching out a hand as if picking up an item{duration}",
    ),
    "theft": _Phrase(
        "possibly stealing (theft suspected){duration}, for review",
        "possibly stealing (theft weakly suspected){duration}, for review",
    ),
    "collapse": _Phrase(
        "fallen down and lying on the floor{duration}", "possibly fallen down and lying on the floor{duration}"
    ),
    "violent": _Phrase(
        "violent, fighting with another person{duration}", "possibly violent, fighting with another person{duration}"
    ),
    "violent: strikes": _Phrase(
        "violent, hitting another person in a fight{duration}",
        "possibly violent, hitting another person in a fight{duration}",
    ),
    "violent: shove": _Phrase(
        "violent, pushing another person{duration}", "possibly violent, pushing another person{duration}"
    ),
    "violent: alone": _Phrase("violent, hitting out{duration}", "possibly violent, hitting out{duration}"),
    "anomaly": _Phrase("behaving unusually{duration}", "possibly behaving unusually{duration}"),
    "anomaly: running": _Phrase("running{duration}, unusual behavior", "possibly running{duration}, unusual behavior"),
    "anomaly: loitering": _Phrase("loitering, in view{duration}", "possibly loitering, in view{duration}"),
    "anomaly: person_lying": _Phrase(
        "lying down{duration}, unusual behavior", "possibly lying down{duration}, unusual behavior"
    ),
    "anomaly: unknown_posture_on_floor": _Phrase(
        "low on the floor in an unclear posture{duration}", "possibly low on the floor in an unclear posture{duration}"
    ),
}
_FACES_EN = {"away": "seen from behind", "left": "facing left", "camera": "facing the camera", "right": "facing right"}


def _english(event: EventFacts) -> str:
    lasts = _duration(event, " h", " min", " s")
    does = _phrase(event, _DOES_EN).format(duration=f" for {lasts}" if lasts else "")
    faces = _faces(event)
    parts = [
        f"{_WHO_EN[age_group(event.age_low, event.age_high)][_GENDERS[event.gender]]} {does}",
        _FACES_EN[faces] if faces else "",
        f"age {event.age_low:.0f}-{event.age_high:.0f}" if _has_age(event) else "",
        f"at {clock(event.start_s)}",
    ]
    sentence = ", ".join(part for part in parts if part)
    return sentence[0].upper() + sentence[1:]


# Korean

_WHO_KO = {
    None: ("사람", "남성", "여성"),
    "child": ("아이", "남자아이", "여자아이"),
    "teenager": ("청소년", "남자 청소년", "여자 청소년"),
    "young": ("젊은 사람", "젊은 남성", "젊은 여성"),
    "adult": ("성인", "성인 남성", "성인 여성"),
    "older": ("노인", "노년 남성", "노년 여성"),
}
_DOES_KO = {
    "walking": _Phrase("{duration}걷는다", "아마 {duration}걷는 듯하다"),
    "standing": _Phrase("{duration}가만히 서 있다", "아마 {duration}가만히 서 있는 듯하다"),
    "sitting": _Phrase("{duration}앉아 있다", "아마 {duration}앉아 있는 듯하다"),
    "picking": _Phrase("{duration}물건을 집으려는 듯 손을 뻗는다", "{duration}손을 뻗어 아마 물건을 집는 듯하다"),
    "theft": _Phrase(
        "{duration}물건을 훔치는 것으로 의심된다(절도), 확인 필요",
        "{duration}아마 물건을 훔치는 듯하나 증거가 약하다(절도 의심), 확인 필요",
    ),
    "collapse": _Phrase(
        "넘어져 쓰러진 뒤 {duration}바닥에 누워 있다", "아마 넘어져 쓰러진 뒤 {duration}바닥에 누워 있는 듯하다"
    ),
    "violent": _Phrase(
        "{duration}다른 사람과 싸우며 폭력을 행사한다", "아마 {duration}다른 사람과 싸우며 폭력을 행사하는 듯하다"
    ),
    "violent: strikes": _Phrase(
        "{duration}다른 사람을 때리며 폭력을 행사한다", "아마 {duration}다른 사람을 때리며 폭력을 행사하는 듯하다"
    ),
    "violent: shove": _Phrase(
        "{duration}다른 사람을 밀치며 폭력을 행사한다", "아마 {duration}다른 사람을 밀치며 폭력을 행사하는 듯하다"
    ),
    "violent: alone": _Phrase("{duration}폭력적으로 팔을 휘두른다", "아마 {duration}폭력적으로 팔을 휘두르는 듯하다"),
    "anomaly": _Phrase("{duration}이상한 행동을 보인다", "아마 {duration}이상한 행동을 보이는 듯하다"),
    "anomaly: running": _Phrase("{duration}뛰는 이상 행동을 보인다", "아마 {duration}뛰는 이상 행동을 보이는 듯하다"),
    "anomaly: loitering": _Phrase("{duration}머물며 배회한다", "아마 {duration}머물며 배회하는 듯하다"),
    "anomaly: person_lying": _Phrase(
        "{duration}누워 있는 이상 행동을 보인다", "아마 {duration}누워 있는 이상 행동을 보이는 듯하다"
    ),
    "anomaly: unknown_posture_on_floor": _Phrase(
        "{duration}바닥 가까이 불분명한 자세로 있다", "아마 {duration}바닥 가까이 불분명한 자세로 있는 듯하다"
    ),
}
_FACES_KO = {"away": "뒷모습", "left": "왼쪽을 향함", "camera": "카메라를 향함", "right": "오른쪽을 향함"}


def _korean(event: EventFacts) -> str:
    lasts = _duration(event, "시간", "분", "초")
    does = _phrase(event, _DOES_KO).format(duration=f"{lasts} 동안 " if lasts else "")
    faces = _faces(event)
    parts = [
        f"{subject(_WHO_KO[age_group(event.age_low, event.age_high)][_GENDERS[event.gender]])} {does}",
        _FACES_KO[faces] if faces else "",
        f"{event.age_low:.0f}~{event.age_high:.0f}세" if _has_age(event) else "",
        clock(event.start_s),
    ]
    return ", ".join(part for part in parts if part)


def subject(noun: str) -> str:
    """The noun with its subject particle: 이 after a final consonant, 가 after a vowel. Hangul syllables are laid out
    in Unicode in blocks of 28, one for each final consonant, the first having none (The Unicode Standard, 3.12)."""
    has_final = (ord(noun[-1]) - ord("가")) % 28 != 0
    return noun + ("이" if has_final else "가")


def _has_age(event: EventFacts) -> bool:
    return event.age_low is not None and event.age_high is not None
