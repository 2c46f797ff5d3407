"""A Describer that looks: a vision-language model writes the sentence, and is believed as far as the facts go.

What it writes is compared with what was measured of the event. A sentence that contradicts it, or is none, is replaced
by the grounded one, and the row says so. Suspicions of theft are not put to the model: the template alone words them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

from sentinel_assets.vision.contradictions import contradiction, unusable
from sentinel_assets.vision.models.template import TemplateDescriber, facing
from sentinel_assets.vision.protocols import Description, EventFacts, Image

QUESTION = (
    "{shown} from the camera of a shop; the person in the middle is {doing}. Describe in one sentence what this "
    "{person} is doing and wearing, and whether the person faces the camera, away from it, left or right. "
    "Do not guess names, ages or intentions."
)

_DOING = {
    "walking": "walking",
    "standing": "standing still",
    "sitting": "sitting",
    "picking": "reaching for an item",
    "collapse": "fallen and lying on the floor",
    "violent": "in a fight",
    "anomaly": "behaving unusually",
}
_ANOMALIES = {"running": "running", "loitering": "loitering", "person_lying": "lying down"}
_PERSONS = {"male": "man", "female": "woman"}


class Answerer(Protocol):
    """Answers questions about pictures, deterministically, in batches."""

    name: str

    def answer(self, pictures: Sequence[Sequence[Image]], questions: Sequence[str]) -> list[str]: ...


class VisionLanguageDescriber:
    """Sentences in English. `key_frames`: how many pictures of an event the model is shown, 1 or 3."""

    def __init__(self, answerer: Answerer, *, key_frames: int = 1) -> None:
        self.name = answerer.name
        self.key_frames = key_frames
        self._answerer = answerer
        self._grounded = TemplateDescriber("en")

    def describe(self, events: Sequence[EventFacts]) -> list[Description]:
        """One sentence for each event, in order."""
        shown = [index for index, event in enumerate(events) if _is_asked(event)]
        answers = self._answerer.answer(
            [events[index].images for index in shown], [question(events[index]) for index in shown]
        )
        given = dict(zip(shown, answers, strict=True))
        grounded = self._grounded.describe(events)
        return [
            self._believed(event, given.get(index), plain)
            for index, (event, plain) in enumerate(zip(events, grounded, strict=True))
        ]

    def _believed(self, event: EventFacts, answer: str | None, grounded: Description) -> Description:
        if answer is None:
            reason = "there is no picture of it" if not event.images else "a suspicion is worded by the template alone"
        else:
            text = first_sentence(answer)
            reason = unusable(text) or contradiction(text, event, facing(event.orientation))
            if not reason:
                return Description(text, "en", grounded=False)
            reason = f"what {self.name} wrote was not taken: {reason}"
        return Description(grounded.text, "en", grounded=True, writer=self._grounded.name, remark=reason)


def question(event: EventFacts) -> str:
    """What the model is asked of an event."""
    doing = _ANOMALIES.get(str(event.evidence.get("rule")), _DOING["anomaly"])
    return QUESTION.format(
        shown="This is a picture" if len(event.images) == 1 else "These pictures, in their order in time, are",
        doing=doing if event.behavior == "anomaly" else _DOING[event.behavior],
        person=_PERSONS.get(event.gender, "person"),
    )


def first_sentence(answer: str) -> str:
    """The first sentence of an answer, on one line."""
    text = " ".join(answer.split())
    return re.split(r"(?<=[.!?])\s+(?=[A-Z])", text, maxsplit=1)[0]


def _is_asked(event: EventFacts) -> bool:
    return bool(event.images) and event.behavior != "theft"
