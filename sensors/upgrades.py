"""The sensors of upgrades. They compare levels, so that a tick that is lost costs nothing.

`upgrades`: a canary that is finished gets its report, and what has a budget is stopped before that is exceeded.
`automatic_upgrades`: redoes what is out of date without being asked; off until somebody switches it on in the UI.
"""

from __future__ import annotations

import warnings

import dagster as dg

from sentinel_assets.automation import recipes_tag
from sentinel_assets.backfills import PRIORITY, UPGRADE, begun
from sentinel_assets.freshness import DEPENDENCIES, digests
from sentinel_assets.spending import enforce_budgets

_INTERVAL_S = 15
_AUTOMATIC_INTERVAL_S = 60  # it reads the records of all videos


@dg.sensor(
    name="upgrades",
    target=dg.AssetSelection.assets("canary_report"),
    minimum_interval_seconds=_INTERVAL_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Reports what a finished canary changed, and stops an upgrade before its budget is exceeded.",
)
def upgrades(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    for line in enforce_budgets(context.instance):
        context.log.warning(line)
    reports = [
        dg.RunRequest(
            run_key=f"canary-report:{one.id}",
            run_config={"ops": {"canary_report": {"config": {"upgrade": one.upgrade}}}},
            tags={"dagster/priority": "5"},
        )
        for one in begun(context.instance, canary=True)
        if one.finished
    ]
    return dg.SensorResult(run_requests=reports)


def automatic_upgrades() -> dg.AutomationConditionSensorDefinition:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # of a condition of one's own; pinned, and held by a test
        return dg.AutomationConditionSensorDefinition(
            name="automatic_upgrades",
            target=dg.AssetSelection.assets(*DEPENDENCIES),
            use_user_code_server=True,
            default_status=dg.DefaultSensorStatus.STOPPED,
            minimum_interval_seconds=_AUTOMATIC_INTERVAL_S,
            run_tags={UPGRADE: "automatic", "dagster/priority": str(PRIORITY), **recipes_tag(digests())},
            description="Redoes what is out of date without being asked, newest first, after uploads. Off at first.",
        )
