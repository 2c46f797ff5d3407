"""`sentinel stale` and `sentinel backfill` as commands."""

from __future__ import annotations

import sys
from typing import Any

import click
from rich.console import Console

from resources.settings import Settings

out = Console(width=None if sys.stdout.isatty() else 160)

_ASSETS = ("detections", "demographics", "poses", "behaviors", "descriptions", "embeddings", "events")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def stale(as_json: bool) -> None:
    """What is out of date, why, and the price of redoing it."""
    from sentinel_assets import report
    from sentinel_assets.staleness import read_states, states_json, states_table
    from sentinel_assets.workplace import open_workplace, records_errors

    with open_workplace(Settings.from_env()) as place, records_errors():
        found = read_states(place.instance, place.warehouse)
    if as_json:
        report.print_json(out, states_json(found))
        return
    out.print(states_table(found))
    if any(one.stale and not one.price.by_recipe_of_today and one.price.measured for one in found):
        out.print("Times and prices are of the recipes of before: a canary measures the new one.")


@click.command()
@click.argument("asset", type=click.Choice(_ASSETS))
@click.option("--dry-run", is_flag=True, help="Say what would be redone and its price, and do nothing.")
@click.option("--canary", type=click.IntRange(1), metavar="N", help="Only the newest N videos, to look at first.")
@click.option("--approve", is_flag=True, help="Go on after the canary.")
@click.option(
    "--budget", type=click.FloatRange(0), metavar="USD", help="As many of the newest as this surely pays for."
)
@click.option("--missing", is_flag=True, help="Also where it was never made.")
@click.option("--report", is_flag=True, help="What the canary changed, as Markdown: old events against new.")
@click.option("--cancel", is_flag=True, help="Cancel what is under way of the upgrade to today's recipe.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def backfill(cancel: bool, report: bool, as_json: bool, **asked: Any) -> None:
    """Redo exactly what is out of date of ASSET and what follows on it, newest videos first, as Dagster backfills."""
    from sentinel_assets.report import print_json
    from sentinel_assets.staleness import duration, usd
    from sentinel_assets.upgrading import Order, upgrade
    from sentinel_assets.workplace import open_workplace, records_errors

    order = Order(**asked)
    with open_workplace(Settings.from_env()) as place, records_errors():
        if cancel:
            _cancel(order.asset, place.instance, as_json)
            return
        if report:
            _report(order.asset, place, as_json)
            return
        offer = upgrade(place.instance, place.warehouse, order)
    if as_json:
        print_json(out, offer.as_json())
        return
    if not offer.plan.work:
        out.print("Nothing to redo." if not offer.all_videos else "The budget pays for no video.")
        return
    outputs = ", ".join(f"{asset} {len(videos)}" for asset, videos in offer.plan.by_asset().items())
    out.print(f"{offer.plan.upgrade}: {len(offer.plan.work)} of {offer.all_videos} videos; {outputs}")
    out.print(f"Time {duration(offer.seconds)}, price {usd(offer.usd)} at most: what comes out as before ends there.")
    for one in offer.backfills:
        out.print(f"Backfill {one} is requested; `sentinel dev` or a Dagster daemon runs it.")


def _report(asset: str, place: Any, as_json: bool) -> None:
    from sentinel_assets.canary import report_markdown
    from sentinel_assets.canary_report import canary_report
    from sentinel_assets.recipes import recipe
    from sentinel_assets.report import print_json

    found = canary_report(place.instance, place.artifacts, f"{asset}-{recipe(asset).digest}")
    if as_json:
        print_json(out, {"videos": found.videos, "agreement": found.agreement, **found.counts})
        return
    names = {video.partition_key: video.name for video in place.warehouse.videos()}
    click.echo(report_markdown(found, names), nl=False)


def _cancel(asset: str, instance: Any, as_json: bool) -> None:
    from sentinel_assets import report
    from sentinel_assets.backfills import cancel
    from sentinel_assets.recipes import recipe

    ids = cancel(instance, f"{asset}-{recipe(asset).digest}")
    if as_json:
        report.print_json(out, {"cancelled": ids})
    else:
        out.print(f"Asked Dagster to cancel {', '.join(ids)}." if ids else "Nothing of it is under way.")
