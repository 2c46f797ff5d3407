"""The fleet at a glance: of each asset how many outputs are up to date, which are not, why, and what redoing costs."""

import dagster as dg

from resources.provided import WarehouseResource
from sentinel_assets.staleness import read_states, states_markdown
from sentinel_assets.wiring import OWNERS, picture


@dg.asset(
    name="model_coverage",
    group_name="fleet",
    kinds={"dagster"},
    owners=OWNERS,
    description="Of each asset, over all videos: outputs up to date, stale and missing, why, and the price of redoing.",
)
def model_coverage(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult[None]:
    found = read_states(context.instance, warehouse.connected)
    return dg.MaterializeResult(
        metadata={
            "coverage": picture(states_markdown(found)),
            "up_to_date": sum(one.up_to_date for one in found),
            "stale": sum(one.stale for one in found),
            "missing": sum(one.missing for one in found),
            "failed": sum(one.failed for one in found),
            **{f"stale_{one.asset}": one.stale for one in found},
        }
    )
