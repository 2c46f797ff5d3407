"""reuse="run": one Batch job that serves the steps of a run one after another, so that models stay loaded.

A line of numbered slots stands between the two sides; each slot is created once. A run worker puts a step into the next
free slot. The job, when it has waited long enough, puts "closed" into that same slot: whoever is first there decides,
so no step is ever left with a job that has gone.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import uuid4

import dagster as dg

from batch_step.channel import Channel, get_json, open_channel, put_json_if_absent, slot_key
from batch_step.records import EXIT_DONE, EXIT_INTERRUPTED
from batch_step.waiting import wait

GONE = "ended"
_LOOK_EVERY_S = 0.5


def enqueue(session: Channel, step_uri: str) -> int | None:
    """Puts a step in line. Its slot, or None when the job takes no more; a step that is in line already stays there,
    unless the job is gone."""
    number, own = 0, None
    while True:
        if own is None and put_json_if_absent(session, slot_key(number), {"channel": step_uri, "token": uuid4().hex}):
            return number
        there = get_json(session, slot_key(number))
        if there is None:
            return own
        if "closed" in there:
            return None if there["closed"] == GONE else own
        if there.get("channel") == step_uri:
            own = number
        number += 1


def close(session: Channel, why: str) -> None:
    """Lets the job end when it has served what is in line; GONE says that it has ended, and serves none of it."""
    number = 0
    while not put_json_if_absent(session, slot_key(number), {"closed": why, "token": uuid4().hex}):
        if "closed" in (get_json(session, slot_key(number)) or {}):
            return
        number += 1


def serve(session: Channel, run: Callable[[Channel, float], int], idle_seconds: float) -> int:
    """The job's side: runs each step in line, returns the exit code when the line is closed or nothing came.

    A step that ends this process's usefulness (interrupted, out of time, refused) ends the serving with its code; the
    launcher sees to a new job.
    """

    number, began = 0, time.time()
    quiet_since = time.monotonic()
    while True:
        slot = get_json(session, slot_key(number))
        if slot is None:
            if time.monotonic() - quiet_since > idle_seconds:
                put_json_if_absent(session, slot_key(number), {"closed": "idle", "token": uuid4().hex})
                continue
            try:
                wait(_LOOK_EVERY_S)
            except dg.DagsterExecutionInterruptedError:
                return EXIT_INTERRUPTED
            continue
        if "closed" in slot:
            return EXIT_DONE
        code = run(open_channel(slot["channel"]), began)
        if code != EXIT_DONE:
            return code
        number, began, quiet_since = number + 1, time.time(), time.monotonic()
