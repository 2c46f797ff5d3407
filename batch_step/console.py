"""Links to the AWS console."""

from __future__ import annotations

from urllib.parse import quote


def job_url(region: str, job_id: str) -> str:
    return f"https://{region}.console.aws.amazon.com/batch/home?region={region}#jobs/detail/{quote(job_id, safe='')}"


def log_url(region: str, group: str, stream: str) -> str:
    """The console wants both names percent-encoded twice, with $ for the first %."""
    group, stream = (quote(quote(name, safe=""), safe="").replace("%", "$") for name in (group, stream))
    return (
        f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}"
        f"#logsV2:log-groups/log-group/{group}/log-events/{stream}"
    )
