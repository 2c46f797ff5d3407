"""What an upgrade's canary changed, for whoever approves the rest: figures, a table, pictures of before and after."""

import dagster as dg
from pydantic import Field

from resources.provided import Footage, WarehouseResource
from resources.settings import Settings
from sentinel_assets.backfills import begun
from sentinel_assets.canary import report_markdown
from sentinel_assets.canary_report import canary_report as report_of
from sentinel_assets.canary_report import pictures
from sentinel_assets.previews import changes
from sentinel_assets.previews.encoding import as_markdown, photo
from sentinel_assets.wiring import OWNERS, acting_on_errors, picture

_DRAWN = 4  # as many as can still be made out on one picture of an event log
_ROWS = 60
_NO_CANARY = "There was no canary yet. `sentinel backfill ASSET --canary N` starts one."


class CanaryReportConfig(dg.Config):
    """Which canary; without a name, the latest."""

    upgrade: str = Field("", description="Such as poses-8f0c2d11ab34: the tag sentinel/upgrade of its backfill.")


@dg.asset(
    name="canary_report",
    group_name="fleet",
    kinds={"dagster"},
    owners=OWNERS,
    description="Of an upgrade's canary: the events that it added, lost and changed, also in pictures.",
)
def canary_report(
    context: dg.AssetExecutionContext, config: CanaryReportConfig, warehouse: WarehouseResource, footage: Footage
) -> dg.MaterializeResult[None]:
    artifacts = footage.store.artifacts
    with acting_on_errors():
        upgrade = config.upgrade or _latest(context.instance)
        if upgrade is None:  # as when all assets are materialized at once
            return dg.MaterializeResult(metadata={"report": picture(_NO_CANARY)})
        compared = report_of(context.instance, artifacts, upgrade)
        found = compared.report
        names = {video.partition_key: video.name for video in warehouse.connected.videos()}
        show_faces = Settings.from_env().show_faces
        drawn = pictures(context.instance, artifacts, compared, names, count=_DRAWN, show_faces=show_faces)
    metadata: dict[str, object] = {"upgrade": upgrade, "report": picture(report_markdown(found, names, limit=_ROWS))}
    if drawn:
        sheet = photo(changes.stacked([one for _, one in drawn]))
        metadata["before_and_after"] = picture(as_markdown(sheet, f"what {upgrade} changed"))
    if found.agreement is not None:
        metadata["agreement"] = round(found.agreement, 4)
    counted = {kind: found.counts[kind] for kind in ("added", "gone", "changed")}
    return dg.MaterializeResult(
        metadata={**metadata, "videos": found.videos, "unchanged": found.unchanged, **counted}  # type: ignore[dict-item]
    )


def _latest(instance: dg.DagsterInstance) -> str | None:
    """The upgrade whose canary was begun last; None where there was none."""
    return next((one.upgrade for one in begun(instance, canary=True)), None)
