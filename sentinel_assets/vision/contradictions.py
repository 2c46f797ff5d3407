"""Whether an English sentence that somebody else wrote on an event contradicts what was measured of it.

A model that looks at pictures may see what was not measured, and that is what it is for; but where it says otherwise
than the measurements, or gives an age that nobody could measure, it is not believed. The check knows words, not
meanings: it is a net against plain contradictions, and what it lets through is no more than not contradicted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from sentinel_assets.vision.protocols import EventFacts

MAX_CHARACTERS = 300
"""A longer sentence is none: the template's longest has about 130."""

_MEN = r"man|men|boys?|males?|gentlem[ae]n|guys?|he|him|his|himself|fathers?|husbands?"
_WOMEN = r"woman|women|girls?|females?|lady|ladies|she|hers?|herself|mothers?|wife|wives"
_GENDERS = {"male": (_MEN, _WOMEN), "female": (_WOMEN, _MEN)}

_PERSON = (
    r"people|persons?|men|man|wom[ae]n|boys?|girls?|children|child|adults?|individuals?|customers?|shoppers?|figures?"
)
_NUMBERS = {"two": 2, "both": 2, "three": 3, "four": 4, "five": 5, "six": 6, "several": 3, "many": 3, "couple": 2}
_MANY = rf"\b(?P<number>{'|'.join(_NUMBERS)}|\d{{1,3}})\s+(?:of\s+)?(?:\w+\s+)?(?:{_PERSON})\b"
_GROUP = r"\b(?:group|crowd|pair|couple)\s+of\s+(?:\w+\s+)?(?:people|persons|men|women|children|customers|shoppers)\b"
_ANOTHER = rf"\b(?:another|other|second)\s+(?:\w+\s+)?(?:{_PERSON})\b|\beach other\b"
_NOBODY = (
    r"\b(?:nobody|no one|no[- ]?(?:people|person|individuals?)|no humans?|empty (?:store|shop|room|aisle|scene))\b"
)

_YEARS = r"\b(?P<low>\d{1,3})(?:\s*(?:-|to|or|and)\s*(?P<high>\d{1,3}))?[\s-]*years?\b(?:[\s-]*(?:old|of age))?"
_AGED = r"\baged?\s+(?:of\s+|about\s+|around\s+)?(?P<low>\d{1,3})(?:\s*(?:-|to)\s*(?P<high>\d{1,3}))?\b"
_DECADE = r"\b(?P<low>\d0)['’]?s\b"
_DECADES = {"teens": 13, "twenties": 20, "thirties": 30, "forties": 40, "fifties": 50, "sixties": 60, "seventies": 70}
_ANY_AGE = r"(?:\w+\s+)?(?:man|woman|men|women|person|people|adult|lady|gentleman|male|female|guy|individual)\b"
_GROUPS: tuple[tuple[str, int, int], ...] = (
    # words, youngest, oldest
    (r"\b(?:child|children|kids?|toddlers?|baby|babies|infants?)\b", 0, 13),
    (r"\b(?:boys?|girls?)\b", 0, 20),
    (r"\b(?:teenagers?|teens?|teenaged?|adolescents?)\b", 12, 20),
    (rf"\byoung(?:er)?\s+{_ANY_AGE}", 0, 40),
    (r"\bmiddle[- ]aged\b", 35, 65),
    (rf"\b(?:elderly|seniors?\b|old(?:er)?\s+{_ANY_AGE})", 55, 200),
)
_WAYS = {
    "camera": r"\b(?:facing|faces|looking|looks|turned|towards?) (?:\w+ ){0,2}(?:camera|viewer|lens)\b",
    "away": r"\bback(?:s)? (?:is |are )?(?:turned |facing )?(?:to|toward|towards) (?:the )?(?:camera|viewer)\b"
    r"|\b(?:from behind|(?:facing|faces|turned|looking|looks) away)\b",
    "left": r"\b(?:facing|faces|looking|looks) (?:to )?(?:the )?left\b",
    "right": r"\b(?:facing|faces|looking|looks) (?:to )?(?:the )?right\b",
}
_OPPOSITE = {"camera": "away", "away": "camera", "left": "right", "right": "left"}

_ACTIONS = {
    "walking": r"walk(?:s|ing|ed)?|stroll(?:s|ing)?|stepping|passing by",
    "running": r"runs?|running|jog(?:s|ging)?|sprint(?:s|ing)?|rush(?:es|ing)?",
    "standing": r"stand(?:s|ing)?|stood",
    "sitting": r"sit(?:s|ting)?|sat|seated",
    "lying": r"lying|lies|laying|fallen|falls?|fell|falling|collapsed?|collapses|collapsing|unconscious",
    "crouching": r"crouch(?:es|ing|ed)?|kneel(?:s|ing)?|knelt|squat(?:s|ting)?|bend(?:s|ing)?|bent|lean(?:s|ing)?",
    "picking": r"pick(?:s|ing|ed)?|reach(?:es|ing|ed)?|grab(?:s|bing|bed)?|tak(?:es|ing)|hold(?:s|ing)?"
    r"|brows(?:es|ing)",
    "violence": r"fight(?:s|ing)?|hit(?:s|ting)?|punch(?:es|ing)?|kick(?:s|ing)?|attack(?:s|ing)?|assault(?:s|ing)?"
    r"|push(?:es|ing)?|shov(?:es|ing)|strik(?:es|ing)|violent(?:ly)?|struggl(?:es|ing)",
}
_THEFT = r"steal(?:s|ing)?|stole|theft|thief|shoplift(?:s|ing|er)?|rob(?:s|bing|bery)?|burglar"
_FITTING: Mapping[str, tuple[str, ...]] = {
    # behavior -> what may be said of the person; where anything is said, something of this must be
    "walking": ("walking",),
    "standing": ("standing", "picking"),
    "sitting": ("sitting",),
    "picking": ("picking", "standing", "crouching"),
    "collapse": ("lying",),
    "violent": ("violence",),
}
_TO_BE_TOLD = ("collapse", "violent")
"""Events that somebody has to find: a sentence that keeps silent of them is of no use."""
_ANOMALIES = {"running": ("running",), "loitering": ("standing", "walking", "sitting"), "person_lying": ("lying",)}
_PLAIN = {"violence": ("violent",)}
"""Actions that a sentence may mention of these behaviors only, whatever else it says."""

_IDENTITY = r"\b(?:named|called|known as|identified as|whose name)\b|\b(?:Mr|Mrs|Ms|Dr)\.? [A-Z]"
_NEGATED = r"\b(?:not|never|without|nor|neither|rather than|instead of|isn't|aren't|doesn't|don't)\b(?:\s+\w+){1,2}"


def unusable(text: str) -> str:
    """Why this is no sentence at all; empty where it may be one."""
    letters = sum(letter.isalpha() or letter.isspace() for letter in text)
    if not text.strip():
        return "it is empty"
    if len(text) > MAX_CHARACTERS:
        return f"it has {len(text)} characters, at most {MAX_CHARACTERS} are a sentence"
    if "\ufffd" in text or not text.replace("\n", " ").isprintable() or letters < 0.8 * len(text):
        return "it is no text"
    words = text.lower().split()
    if len(words) < 3:
        return "it is no sentence"
    if any(len(set(words[i : i + 4])) == 1 for i in range(len(words) - 3)):
        return "it repeats itself"
    return ""


def contradiction(text: str, facts: EventFacts, faces: str | None) -> str:
    """What in the sentence contradicts the facts; empty where nothing was found. `faces` is the quarter in which the
    body faces, as `models.template.facing` names it; None when unknown."""
    plain = re.sub(_NEGATED, " ", text, flags=re.IGNORECASE)
    checks = (
        _identity(text),
        _number(text, plain, facts),
        _gender(plain, facts),
        _age(plain, facts),
        _action(plain, facts),
        _direction(plain, faces),
    )
    return next((found for found in checks if found), "")


def _identity(text: str) -> str:
    match = re.search(_IDENTITY, text)
    return f"it says who somebody is ({match[0]!r})" if match else ""


def _number(text: str, plain: str, facts: EventFacts) -> str:
    if match := _find(_NOBODY, text):
        return f"it sees nobody ({match[0]!r})"
    seen = facts.people_in_view
    if seen is None:
        return ""
    said = [(_NUMBERS.get(m["number"].lower()) or int(m["number"]), m[0]) for m in _all(_MANY, plain)]
    said += [(2, m[0]) for pattern in (_GROUP, _ANOTHER) for m in _all(pattern, plain)]
    number, words = max(said, default=(0, ""))
    return f"it sees {words!r}, where {seen} {'was' if seen == 1 else 'were'} found" if number > seen else ""


def _gender(plain: str, facts: EventFacts) -> str:
    if facts.gender not in _GENDERS:
        return ""
    own, other = _GENDERS[facts.gender]
    match = _find(rf"\b(?:{other})\b", plain)
    if match is None:
        return ""
    others_there = (facts.people_in_view or 1) > 1 or facts.other_track is not None
    if others_there and _find(rf"\b(?:{own})\b", plain):
        return ""
    return f"it says {match[0]!r} of a person found to be {facts.gender}"


def _age(plain: str, facts: EventFacts) -> str:
    said = [
        (int(m["low"]), int(m["high"] or m["low"]), m[0]) for pattern in (_YEARS, _AGED) for m in _all(pattern, plain)
    ]
    said += [(int(m["low"]), int(m["low"]) + 9, m[0]) for m in _all(_DECADE, plain)]
    said += [(low, low + 9, word) for word, low in _DECADES.items() if _find(rf"\b{word}\b", plain)]
    said += [(low, high, m[0]) for pattern, low, high in _GROUPS for m in _all(pattern, plain)]
    if not said:
        return ""
    if facts.age_low is None or facts.age_high is None:
        return f"it gives an age ({said[0][2]!r}) that could not be measured"
    others_there = (facts.people_in_view or 1) > 1
    fits = [low <= facts.age_high and high >= facts.age_low for low, high, _ in said]
    if all(fits) or (others_there and any(fits)):
        return ""
    return f"it says {said[fits.index(False)][2]!r} of a person of {facts.age_low:.0f}-{facts.age_high:.0f}"


def _action(plain: str, facts: EventFacts) -> str:
    if match := _find(rf"\b(?:{_THEFT})\b", plain):
        return f"it accuses ({match[0]!r})"
    told = {name: match for name, words in _ACTIONS.items() if (match := _find(rf"\b(?:{words})\b", plain))}
    for name, behaviors in _PLAIN.items():
        if name in told and facts.behavior not in behaviors:
            return f"it says {told[name][0]!r} of what was found to be {facts.behavior}"
    fitting = _FITTING.get(facts.behavior) or _ANOMALIES.get(str(facts.evidence.get("rule")), ())
    if not fitting or told.keys() & set(fitting):
        return ""
    if facts.behavior in _TO_BE_TOLD:
        return f"it does not tell of what was found: {facts.behavior}"
    if not told:
        return ""
    return f"it says {next(iter(told.values()))[0]!r} of what was found to be {facts.behavior}"


def _direction(plain: str, faces: str | None) -> str:
    if faces is None:
        return ""
    match = _find(_WAYS[_OPPOSITE[faces]], plain)
    if match is None or _find(_WAYS[faces], plain):
        return ""
    found = {"camera": "faces the camera", "away": "faces away"}.get(faces, f"faces {faces}")
    return f"it says {match[0]!r} of a person who {found}"


def _find(pattern: str, text: str) -> re.Match[str] | None:
    return re.search(pattern, text, re.IGNORECASE)


def _all(pattern: str, text: str) -> list[re.Match[str]]:
    return list(re.finditer(pattern, text, re.IGNORECASE))
