"""What a job says of its video's progress: seldom, and always that its stage has come to its end."""

import dagster as dg

from batch_step import note_in
from sentinel_assets.notes import NotedLog


def test_of_progress_the_first_and_the_last_word_are_always_said() -> None:
    """All within a moment: what lies between is kept back, so that the run's page has no line for each."""

    @dg.op
    def stage(context: dg.OpExecutionContext) -> None:
        log = NotedLog(context, last=50)  # type: ignore[arg-type]
        for percent in (1, 20, 49, 50):
            log.progress("clip", "run", percent, "detections")

    @dg.job
    def job() -> None:
        stage()

    with dg.DagsterInstance.ephemeral() as instance:
        run = job.execute_in_process(instance=instance)
        notes = [note for entry in instance.all_logs(run.run_id) if (note := note_in(entry))]
    assert [note["progress"] for note in notes] == [1, 50]
