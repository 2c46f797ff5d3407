"""A job that one run of a backfill has done with, left to the next: the models that it has loaded stay loaded.

Offers are numbered objects, each created once and taken once:

    000000.json             a job, the line of steps that it serves, how many runs have had it
    000000.taken.json       the run that has it now
    first.json              a hint: all offers before this number are taken

A run has the job to itself until it offers it in turn, so that what becomes of one run touches no other. A job that
nobody takes ends when its idle time is over.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import uuid4

from batch_step.channel import Channel, get_json, put_json, put_json_if_absent
from batch_step.records import Record

_FIRST = "first.json"


@dataclass(frozen=True)
class Offer(Record):
    """`session` is the address of the job's line of steps."""

    job_id: str
    session: str
    runs: int
    """How many have had the job."""
    token: str

    def is_within(self, channel: str) -> bool:
        """Whether its line is in this channel: jobs may write there, and a run worker writes where an offer says."""
        return self.session.startswith(channel) and ".." not in self.session.split("/")


def is_offered(session: Channel, of: Offer) -> bool:
    """Whether the run that has the job has offered it before."""
    return session.get(_mark(of)) is not None


def offer(offers: Channel, session: Channel, of: Offer) -> None:
    """Once for each run that had the job, however often a run worker says so."""
    if not of.write_once(session, _mark(of)):
        return
    number = _first(offers)
    while not of.write_once(offers, _key(number)):
        number += 1


def take(offers: Channel) -> Offer | None:
    """The oldest offer that nobody has taken, and nobody else will."""
    number = _first(offers)
    while (found := Offer.read(offers, _key(number))) is not None:
        if put_json_if_absent(offers, f"{number:06d}.taken.json", {"token": uuid4().hex}):
            put_json(offers, _FIRST, {"number": number + 1})
            return found
        number += 1
    return None


def _mark(of: Offer) -> str:
    return f"runs/{of.runs:06d}.json"


def _first(offers: Channel) -> int:
    hint = get_json(offers, _FIRST)
    return 0 if hint is None else int(hint["number"])


def _key(number: int) -> str:
    return f"{number:06d}.json"
