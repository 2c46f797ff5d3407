"""What the step launcher tells of a step that ran as jobs, without any."""

from __future__ import annotations

import dagster as dg

from batch_step.cost import TOOK, Accounts
from batch_step.dagster_internals import EngineEventData


def tell_what_it_took(
    instance: dg.DagsterInstance, run: dg.DagsterRun, step: str, host_s: float, usd: float | None, attempt: str = "0.0"
) -> None:
    """As the engine event with which the launcher ends an attempt of a step."""
    channel = dg.MetadataValue.path(f"steps/{run.run_id}/{step}/{attempt}")
    data = EngineEventData({**Accounts(host_s, usd).metadata(), "channel": channel})
    instance.report_engine_event(TOOK, run, data, step_key=step)
