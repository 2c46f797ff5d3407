"""What one step runs under."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from batch_step.failures import FailureClass
from batch_step.limits import MIN_TIMEOUT_S
from batch_step.records import Abandoned
from batch_step.reference import CodeVersion


@dataclass(frozen=True)
class Terms:
    """The launcher's settings with the asset's op tags over them. Times in seconds."""

    channel: str
    queue: str
    job_definition: str
    on_demand_queue: str | None
    reclaims_before_on_demand: int
    command: tuple[str, ...]
    environment: dict[str, str]
    share: str | None
    priority: int
    name_prefix: str
    vcpus: float | None
    memory_mib: int | None
    gpus: int | None
    timeout_s: float | None
    infrastructure_retries: int
    retry_delay_s: float
    shared: bool
    steps: int  # of the run that ask for a launcher, as far as they are known beforehand
    idle_s: float
    backfill: str | None  # whose runs leave their jobs to each other; None: no other run has this run's jobs
    runs_per_job: int
    follow_logs: bool
    poll_s: float
    describe_every_s: float
    unknown_after_s: float
    lease_s: float
    resume_s: float
    takeover_s: float
    stuck_after_s: float
    finish_grace_s: float
    code: CodeVersion
    prices: dict[str, float] = field(default_factory=dict)
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def job_timeout_s(self) -> int | None:
        """Batch's own limit, for a worker that cannot stop itself any more; it replaces that of the job definition."""
        if self.timeout_s is None:
            return None
        runs = self.runs_per_job if self.backfill else 1
        steps = runs * self.steps * (self.timeout_s + self.idle_s) if self.shared else self.timeout_s
        return max(MIN_TIMEOUT_S, int(steps) + 120)

    @property
    def beat_s(self) -> float:
        return min(self.lease_s, self.takeover_s) / 4

    def queue_after(self, losses: list[Abandoned]) -> str:
        """The on-demand queue once spot, or the lack of hosts, has cost this step enough."""
        gone = (FailureClass.SPOT_RECLAIMED.name, FailureClass.CAPACITY_SHORT.name)
        reclaims = sum(loss.failure in gone for loss in losses)
        if self.on_demand_queue is not None and reclaims >= self.reclaims_before_on_demand:
            return self.on_demand_queue
        return self.queue

    def purchase_of(self, queue: str) -> str | None:
        """How a queue's hosts are bought, for jobs that were lost before their worker could say. Whoever names an
        on-demand queue has spot hosts in the other one."""
        if self.on_demand_queue is None:
            return None
        return "on-demand" if queue == self.on_demand_queue else "spot"
