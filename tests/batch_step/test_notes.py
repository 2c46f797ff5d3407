"""A job tells its host what only the host may write, while it runs; the host may do with it what it likes."""

# No `from __future__ import annotations`: Dagster reads the annotation of `context` as an object.
import json
from pathlib import Path

import dagster as dg
import pytest

from batch_step import in_job, note_in, send_note, told
from tests.batch_step.runs import Toys, messages


def test_a_note_reaches_the_host_while_the_step_runs(toys: Toys, tmp_path: Path) -> None:
    """The step waits for what the host does with it. What the host told the step stands in it."""
    heard = tmp_path / "heard"
    result = toys.run("noting", ops={"noting": {"folder": str(heard)}}, heard=str(heard))
    assert result.success
    assert [json.loads(line) for line in heard.read_text().splitlines()] == [
        {"done": 0.5, "of": ["a", "나"], "was told": {"step": "noting"}}
    ]
    assert "half of it is done" in messages(result, toys.instance)


def test_in_process_there_is_no_host_to_tell(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    toys = Toys(instance, tmp_path / "outputs", {}, "local")
    assert toys.run("noting", ops={"noting": {}}).success
    assert not in_job()
    assert told() == {}


@pytest.mark.parametrize("kind", ["a log line", "another engine event", "a note"])
def test_only_a_note_is_one(instance: dg.DagsterInstance, kind: str) -> None:
    @dg.op
    def speak(context: dg.OpExecutionContext) -> None:
        context.log.info("a log line")
        send_note(context, "a note", {"n": 1})

    @dg.job
    def job() -> None:
        speak()

    run = job.execute_in_process(instance=instance)
    entries = [e for e in instance.all_logs(run.run_id) if kind in (e.user_message, "another engine event")]
    entries = [e for e in entries if (e.user_message == "a note") == (kind == "a note")]
    assert entries
    assert [note_in(e) for e in entries] == [{"n": 1} if kind == "a note" else None] * len(entries)
