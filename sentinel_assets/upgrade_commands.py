"""`sentinel stale`, `sentinel backfill`, `sentinel kept` and `sentinel vectors` as commands."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.filesize import decimal
from rich.table import Table

from resources.settings import Settings

if TYPE_CHECKING:
    from sentinel_assets.workplace import Workplace

out = Console(width=None if sys.stdout.isatty() else 160)
progress = Console(stderr=True)

_ASSETS = ("detections", "demographics", "poses", "behaviors", "descriptions", "embeddings", "events")
_LOOKING = "Looking through all that is kept"
_PICTURES = 30  # changes of a report's file that are drawn: each needs two looks into its video


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
@click.option("--sample", multiple=True, metavar="VIDEO", help="A canary of this one (id, path or name); repeatable.")
@click.option("--approve", is_flag=True, help="Go on after the canary.")
@click.option(
    "--budget", type=click.FloatRange(0), metavar="USD", help="As many of the newest as this surely pays for."
)
@click.option("--missing", is_flag=True, help="Also where it was never made.")
@click.option("--report", is_flag=True, help="What the canary changed, as Markdown: old events against new.")
@click.option(
    "--report-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.md",
    help="The report as a file, with pictures beside it.",
)
@click.option("--cancel", is_flag=True, help="Cancel what is under way of the upgrade to today's recipe.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def backfill(cancel: bool, report: bool, report_file: Path | None, as_json: bool, **asked: Any) -> None:
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
        if report or report_file:
            _report(order.asset, place, report_file, as_json)
            return
        offer = upgrade(place.instance, place.warehouse, order)
    if as_json:
        print_json(out, offer.as_json())
        return
    if not offer.plan.work:
        out.print("The budget pays for no video." if offer.asked_videos else "Nothing to redo.")
        return
    outputs = ", ".join(f"{asset} {len(videos)}" for asset, videos in offer.plan.by_asset().items())
    out.print(f"{offer.plan.upgrade}: {len(offer.plan.work)} of {offer.all_videos} videos; {outputs}")
    out.print(f"Time {duration(offer.seconds)}, price {usd(offer.usd)} at most: what comes out as before ends there.")
    for one in offer.backfills:
        out.print(f"Backfill {one} is requested; `sentinel dev` or a Dagster daemon runs it.")


@click.command()
@click.argument("action", type=click.Choice(["list", "switch", "back", "drop"]), default="list")
@click.argument("recipe", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def vectors(action: str, recipe: str | None, as_json: bool) -> None:
    """The embedding recipes that there are vectors of, and which of them search answers from.

    \b
    list           recipes, how many events each covers, and which one search uses
    switch RECIPE  let search answer from that one (default: today's), once it covers every event
    back           to the one that search used before
    drop RECIPE    delete its vectors that were set aside
    """
    from resources.warehouse import connect
    from sentinel_assets.recipes import recipe as recipe_of
    from sentinel_assets.report import print_json

    if action == "drop" and recipe is None:
        raise click.BadParameter("which one? `sentinel vectors` lists them", param_hint="RECIPE")
    with connect(Settings.from_env()) as warehouse:
        spaces = warehouse.spaces
        if action == "switch":
            spaces.switch(recipe or recipe_of("embeddings").digest)
        elif action == "back":
            spaces.back()
        elif action == "drop":
            spaces.drop(str(recipe))
        found = spaces.listed()
        names = {
            digest: ", ".join(str(model["name"]) for model in made["models"])
            for digest, made in warehouse.recipes([one.recipe for one in found]).items()
        }
    if as_json:
        print_json(out, [{**asdict(one), "model": names.get(one.recipe)} for one in found])
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("Recipe", "Model", "Numbers", "Events", ""):
        table.add_column(name, justify="right" if name in ("Numbers", "Events") else "left")
    for one in found:
        word = "search answers from it" if one.pinned else "before" if one.previous else ""
        model = names.get(one.recipe, "not recorded")
        table.add_row(one.recipe, model, str(one.dimension), f"{one.events} of {one.of}", word)
    out.print(table)


@click.command()
@click.argument("action", type=click.Choice(["list", "drop"]), default="list")
@click.argument("recipe", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def kept(action: str, recipe: str | None, as_json: bool) -> None:
    """Results of every recipe, kept so that going back to it computes nothing.

    \b
    list           what is kept, of how many videos and how large
    drop RECIPE    delete it; refused while it is today's, or some video still has its result
    """
    from sentinel_assets.keeping import drop_kept, kept_recipes
    from sentinel_assets.report import print_json
    from sentinel_assets.workplace import open_workplace, records_errors

    if action == "drop" and recipe is None:
        raise click.BadParameter("which one? `sentinel kept` lists them", param_hint="RECIPE")
    with open_workplace(Settings.from_env()) as place, records_errors():
        if action == "drop":
            with progress.status(_LOOKING):
                gone = drop_kept(place.instance, place.artifacts, str(recipe))
            if not as_json:
                out.print(f"{len(gone.names)} results of {gone.asset} are gone, {decimal(gone.size_bytes)}.")
                return
        with progress.status(_LOOKING):
            found = kept_recipes(place.instance, place.artifacts)
    if as_json:
        print_json(out, [asdict(one) for one in found])
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("Asset", "Recipe", "Results", "Size", ""):
        table.add_column(name, justify="right" if name in ("Results", "Size") else "left")
    for one in found:
        words = ["today's"] if one.of_today else []
        words += [f"in place of {one.in_place}"] if one.in_place else []
        table.add_row(one.asset, one.recipe, str(one.results), decimal(one.size_bytes), ", ".join(words))
    out.print(table)


def _report(asset: str, place: Workplace, file: Path | None, as_json: bool) -> None:
    from sentinel_assets import canary_report
    from sentinel_assets.canary import report_markdown
    from sentinel_assets.recipes import recipe
    from sentinel_assets.report import print_json

    compared = canary_report.canary_report(place.instance, place.artifacts, f"{asset}-{recipe(asset).digest}")
    found, names = compared.report, {video.partition_key: video.name for video in place.warehouse.videos()}
    if file is not None:
        drawn = canary_report.pictures(
            place.instance,
            place.artifacts,
            compared,
            names,
            count=_PICTURES,
            show_faces=place.settings.show_faces,
        )
        canary_report.write_markdown(file, found, names, drawn)
    if as_json:
        told = {"videos": found.videos, "agreement": found.agreement, "unchanged": found.unchanged}
        print_json(out, {**told, **{kind: found.counts[kind] for kind in ("added", "gone", "changed")}})
    elif file is not None:
        click.echo(f"{file}, with {len(drawn)} of {len(found.changes)} changes in pictures")
    else:
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
