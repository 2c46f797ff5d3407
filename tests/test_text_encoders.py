"""Search moves to a text encoder of another dimension and back, as a person does it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.builders.faults import cut
from tests.builders.machine import Machine
from tests.builders.sentences import WIDTH, write_sentence_encoder


@pytest.mark.drill
def test_search_moves_to_an_encoder_of_another_dimension_and_back(
    people: Path, machine: Machine, tmp_path: Path
) -> None:
    """Until the switch it answers as before; a video that is new meanwhile is found by both."""
    machine.analyze(people)
    before = hits(machine)
    assert before
    write_sentence_encoder(tmp_path / "authors" / "local-sentence-encoder")
    new = {"SENTINEL_MODEL_TEXT_ENCODER": "local-sentence-encoder", "SENTINEL_WEIGHTS": str(machine.home / "weights")}
    run(machine, "models", "pull", "--profile", "cpu", "--from", tmp_path / "authors", env=new)
    (redone,) = json.loads(run(machine, "analyze", people, "--json", env=new))["videos"]
    assert set(redone["made"]) == {"embeddings", "events"}
    spaces = vectors(machine, new)
    assert [(one["dimension"], one["pinned"], one["events"] == one["of"]) for one in spaces] == [
        (384, True, True),
        (WIDTH, False, True),
    ]
    assert hits(machine) == hits(machine, new) == before

    later = tmp_path / "later.mp4"
    cut(people, later, seconds=2)
    run(machine, "analyze", later, "--json", env=new)
    assert all(one["events"] == one["of"] for one in vectors(machine, new))
    both = hits(machine, new)
    assert {video for video, _, _ in both} == {people.name, later.name}

    (moved, left) = vectors(machine, new, "switch")
    assert (moved["dimension"], moved["pinned"], left["previous"]) == (WIDTH, True, True)
    found = hits(machine, new)
    assert sorted(one[:2] for one in found) == sorted(one[:2] for one in both)  # all there are, otherwise near
    assert found != both
    assert vectors(machine, new, "back")[0]["dimension"] == 384
    assert hits(machine, new) == both
    vectors(machine, new, "switch")
    refused = machine.run("vectors", "drop", moved["recipe"], env=new)
    assert refused.returncode == 1
    assert [one["dimension"] for one in vectors(machine, new, "drop", left["recipe"])] == [WIDTH]
    assert hits(machine, new) == found


def run(machine: Machine, *arguments: object, env: dict[str, str]) -> str:
    done = machine.run(*arguments, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def vectors(machine: Machine, env: dict[str, str], *action: str) -> list[dict[str, Any]]:
    return list(json.loads(run(machine, "vectors", *action, "--json", env=env)))


def hits(machine: Machine, env: dict[str, str] | None = None, limit: int = 30) -> list[tuple[str, str, float]]:
    """Video, key of the event, and how near it is."""
    said = run(machine, "search", "a person walks", "--limit", limit, "--json", env=env or {})
    return [(one["video_name"], one["event"]["event_key"], round(one["similarity"], 4)) for one in json.loads(said)]
