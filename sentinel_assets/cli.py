"""`sentinel ...`: the command line. Exit codes: 0 done, 1 something failed and said so, 2 the command was misused."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
from rich.console import Console
from rich.markup import escape

from resources.settings import Profile, Settings
from sentinel_assets.upgrade_commands import backfill, kept, stale, vectors
from sentinel_assets.vision.errors import SentinelError
from sentinel_assets.vision.tables import BEHAVIORS

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from resources.warehouse import SearchFilter, Warehouse

out = Console(width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True)

PROFILES = get_args(Profile)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


class Seconds(click.ParamType[float]):
    """`75`, `1:15` or `0:01:15`."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        try:
            seconds = 0.0
            for part in str(value).split(":"):
                seconds = seconds * 60 + float(part)
        except ValueError:
            self.fail(f"{value!r} is no time; write seconds, mm:ss or h:mm:ss", param, ctx)
        return seconds


def filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The filters that `events` and `search` share."""
    options = [
        click.option(
            "--type", "types", multiple=True, type=click.Choice(BEHAVIORS), help="Only this event; repeatable."
        ),
        click.option("--from", "start_s", type=Seconds(), help="Not before this time of the video (seconds or mm:ss)."),
        click.option("--to", "end_s", type=Seconds(), help="Not after this time of the video."),
        click.option("--min-age", type=click.FloatRange(0, 120), help="Only people of known age, at least this."),
        click.option("--max-age", type=click.FloatRange(0, 120), help="Only people of known age, at most this."),
        click.option("--gender", type=click.Choice(["male", "female", "unknown"]), help="Only people of this gender."),
        click.option("--min-confidence", type=click.FloatRange(0, 1), help="Only events at least this sure."),
        click.option("--for-review", is_flag=True, help="Only suspicions that a person has to look at."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sentinel-cctv", prog_name="sentinel")
def cli() -> None:
    """Turn the CCTV footage of unmanned stores into events that a person can search."""


@cli.command()
@click.argument("paths", metavar="VIDEO...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--again", is_flag=True, help="Make everything again, also what is up to date.")
@click.option("--partial", is_flag=True, help="Analyse what is there of a truncated file instead of refusing it.")
@click.option("--profile", type=click.Choice(PROFILES), help="Which models (or SENTINEL_PROFILE).")
@click.option("--rate", type=float, metavar="HZ", help="Frames looked at in a second (or SENTINEL_SAMPLE_RATE; 1).")
@json_option
def analyze(
    paths: tuple[Path, ...], again: bool, partial: bool, profile: str | None, rate: float | None, as_json: bool
) -> None:
    """Analyse videos here and now, and print their events."""
    _choose(profile, rate)
    if partial:
        os.environ["SENTINEL_ACCEPT_TRUNCATED"] = "1"
    from sentinel_assets.interrupts import interruptible

    def work() -> int:
        from sentinel_assets.session import analyse_all

        return analyse_all(paths, again=again, as_json=as_json, out=out, err=err)

    def say_so() -> None:
        if err.is_terminal:
            err.print("Ending with what is being looked at now. Ctrl-C once more does not wait for it.")

    sys.exit(interruptible(work, on_asked=say_so))


@cli.command()
@click.argument("path", metavar="[VIDEO]", required=False, type=click.Path(path_type=Path))
@click.option("--profile", type=click.Choice(PROFILES), help="Which models (or SENTINEL_PROFILE).")
def demo(path: Path | None, profile: str | None) -> None:
    """Analyse a clip (default: a sample that it composes), print its events, and search them in English and Korean."""
    _choose(profile, None)
    from sentinel_assets.session import demonstrate

    sys.exit(demonstrate(path, out=out, err=err))


@cli.command()
@click.argument("paths", metavar="VIDEO...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--id", "video_id", help="Of the video, to replace what it was; else the content's own. One file only.")
@click.option("--wait", is_flag=True, help="Follow each to the end of its analysis.")
@json_option
def upload(paths: tuple[Path, ...], video_id: str | None, wait: bool, as_json: bool) -> None:
    """Put videos into the footage bucket, of the `sentinel dev` that runs here or of a deployment; they are analysed
    there."""
    if video_id is not None and len(paths) > 1:
        raise click.BadParameter("an id is of one video; give one file", param_hint="--id")
    from sentinel_assets.uploading import upload_all

    sys.exit(upload_all(paths, video_id=video_id, wait=wait, as_json=as_json, out=out, err=err))


@cli.command()
@click.argument("video", required=False)
@json_option
def status(video: str | None, as_json: bool) -> None:
    """Progress and state of all videos, or of one (its id, path or name)."""
    from sentinel_assets import report

    with _warehouse() as warehouse:
        videos = [warehouse.find_video(video)] if video else warehouse.videos()
        if as_json:
            report.print_json(out, [report.plain(v) for v in videos])
        elif not videos:
            out.print("No video yet. Start with: sentinel analyze VIDEO")
        else:
            out.print(report.videos_table(videos))


@cli.command()
@click.argument("video")
@filter_options
@json_option
def events(video: str, as_json: bool, **filters: Any) -> None:
    """The events of one video (its id, path or name)."""
    from sentinel_assets import report

    with _warehouse() as warehouse:
        row = warehouse.find_video(video)
        found = warehouse.events(row.id, _filter(**filters))
        said = {key: verdict for (_, key), verdict in warehouse.verdicts_of(warehouse.events(row.id)).items()}
        if as_json:
            report.print_json(out, [report.reviewed_event(e, said.get(e.event_key)) for e in found])
        elif found:
            out.print(report.events_table(found, said))
        elif row.status == "failed":
            raise SentinelError(f"its analysis failed: {row.error}", where=row.name)
        else:
            out.print(f"No such event in {row.name} ({row.status}).")


@cli.command()
@click.argument("text")
@click.option("--video", help="Only in this video (its id, path or name).")
@click.option("--limit", type=click.IntRange(1, 500), default=10, show_default=True, help="How many at most.")
@filter_options
@json_option
def search(text: str, video: str | None, limit: int, as_json: bool, **filters: Any) -> None:
    """Find events by meaning, in English or Korean."""
    from sentinel_assets import report
    from sentinel_assets.search import search_hits

    if not text.strip():
        raise click.BadParameter("nothing to search for; say what, such as 'someone fell'", param_hint="TEXT")
    with _warehouse() as warehouse:
        chosen = _filter(video_id=warehouse.find_video(video).id if video else None, **filters)
        hits = search_hits(warehouse, text, chosen=chosen, limit=limit)
        if as_json:
            report.print_json(out, [report.plain(h) for h in hits])
        elif hits:
            out.print(report.hits_table(hits))
        else:
            out.print("Nothing found. `sentinel status` shows which videos are analysed.")


@cli.command()
@click.argument("event")
@click.option("--confirm", "verdict", flag_value="confirmed", help="It happened.")
@click.option("--reject", "verdict", flag_value="rejected", help="It did not.")
@click.option("--note", default="", help="Why, in your words.")
@json_option
def review(event: str, verdict: str | None, note: str, as_json: bool) -> None:
    """Say whether an event is right: VIDEO/KEY, both as `sentinel events` shows them. It is kept when the event is made
    again, shown with it, and counted by `sentinel evaluate --verdicts`."""
    from sentinel_assets import report
    from sentinel_assets.reviewing import find_event

    if verdict is None:
        raise click.UsageError("say --confirm or --reject")
    with _warehouse() as warehouse:
        row, found = find_event(warehouse, event)
        warehouse.review(found, verdict, note)
        if as_json:
            said = warehouse.verdicts_of(warehouse.events(row.id)).get((row.id, found.event_key))
            report.print_json(out, report.reviewed_event(found, said))
        else:
            out.print(f"{escape(row.name)}/{found.event_key}: {verdict}.", highlight=False)


@cli.command()
@click.argument("event")
@click.option("--picture", type=click.Path(path_type=Path, dir_okay=False), help="Write the moments to this WebP file.")
@json_option
def explain(event: str, picture: Path | None, as_json: bool) -> None:
    """Why there is this event (VIDEO/KEY): what was measured against which thresholds, in which frames, by which
    models; the rules are run again over the stored tables to see that they still say so."""
    from sentinel_assets.explaining import explain_event

    with _warehouse() as warehouse:
        explain_event(warehouse, event, Settings.from_env(), picture=picture, as_json=as_json, out=out)


@cli.command()
@click.argument("dataset", type=click.Path(path_type=Path))
@click.option(
    "--report",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write report.md, .json and pictures there.",
)
@click.option(
    "--gate",
    metavar="FILE|THRESHOLDS",
    help="Exit code 1 where worse than an earlier report.json, a YAML, or such as collapse.recall>=0.9.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 60),
    default=1.0,
    show_default=True,
    help="Seconds by which an event may miss its label.",
)
@click.option("--verdicts", is_flag=True, help="Count the reviewers' verdicts too.")
@click.option("--profile", type=click.Choice(["cpu", "permissive"]), help="Which models (or SENTINEL_PROFILE).")
@click.option("--rate", type=float, metavar="HZ", help="Frames looked at in a second (or SENTINEL_SAMPLE_RATE; 1).")
@json_option
def evaluate(
    dataset: Path,
    folder: Path | None,
    gate: str | None,
    tolerance: float,
    verdicts: bool,
    profile: str | None,
    rate: float | None,
    as_json: bool,
) -> None:
    """Hold the models and rules of now against labelled clips: a folder with labels.csv, or MOT boxes in gt/."""
    _choose(profile, rate)
    from sentinel_assets.evaluation.command import run

    code = run(
        dataset,
        folder=folder,
        gate=gate,
        tolerance_s=tolerance,
        with_verdicts=verdicts,
        as_json=as_json,
        out=out,
        err=err,
    )
    sys.exit(code)


@cli.group(name="models")
def models_group() -> None:
    """The models: which there are, their weights fetched, their weights verified."""


@models_group.command(name="list")
@json_option
def list_models(as_json: bool) -> None:
    """All models: what each is for, which profiles use it, its licence, and whether its weights are here."""
    from resources.weights import Catalogue
    from sentinel_assets import report

    catalogue = Catalogue.load()
    rows = [report.model_row(catalogue, entry) for entry in catalogue.models]
    if as_json:
        report.print_json(out, rows)
    else:
        out.print(report.models_table(rows))


@models_group.command()
@click.option("--profile", type=click.Choice(PROFILES), help="Which models (or SENTINEL_PROFILE).")
@click.option(
    "--accept-licence", "licences", metavar="NAME", multiple=True, help="Accept a restricted licence, once; repeatable."
)
@click.option(
    "--from",
    "mirror",
    metavar="PLACE",
    help="Folder, s3:// or https:// prefix, or hf:OWNER/REPO, to look in (or SENTINEL_MODELS_MIRROR).",
)
@json_option
def pull(profile: str | None, licences: tuple[str, ...], mirror: str | None, as_json: bool) -> None:
    """Fetch and verify the weights of the profile. What broke off goes on where it was."""
    _choose(profile, None)
    from resources.weights import Catalogue
    from sentinel_assets import report
    from sentinel_assets.session import pull_weights_with_bar

    paths = pull_weights_with_bar(Settings.from_env(), err, licences=licences, mirror=mirror)
    if as_json:
        report.print_json(out, {name: str(path) for name, path in paths.items()})
        return
    out.print(f"{len(paths)} models of profile {Settings.from_env().profile} are here, their sha256 verified.")
    for entry in Catalogue.load().members(Settings.from_env().profile):
        if entry.is_locked:
            out.print(f"  {entry.name} is locked to what was pulled first: sha256 {entry.sha256}", highlight=False)


@models_group.command()
@json_option
def verify(as_json: bool) -> None:
    """Compare the weights that are here with the catalogue's sha256, or with that of their first pull (locked).

    The exit code is 1 where one differs.
    """
    from resources.weights import Catalogue, State
    from sentinel_assets import report

    catalogue = Catalogue.load()
    rows = [report.model_row(catalogue, entry) for entry in catalogue.models if entry.has_weights]
    if as_json:
        report.print_json(out, rows)
    else:
        out.print(report.models_table(rows))
    wrong = [row["name"] for row in rows if row["state"] == State.MISMATCH]
    if wrong:
        raise SentinelError(
            f"the weights of {', '.join(wrong)} are not what the catalogue says",
            where=Settings.from_env().weights,
            remedy="They are not loaded; `sentinel models pull` sets them aside and fetches the right ones",
        )


@cli.command()
@click.argument("volumes", metavar="[VIDEOS_A_DAY]...", nargs=-1, type=click.FloatRange(0, min_open=True))
@click.option("--stock", is_flag=True, help="Hosts pull image and weights at boot: no AMI was baked.")
@click.option("--spot", is_flag=True, help="On spot hosts.")
@click.option("--videos-per-job", type=click.IntRange(1), default=1, show_default=True, help="One after another.")
@click.option("--host-price", type=click.FloatRange(0, min_open=True), help="USD per host hour in your region.")
@click.option("--work-seconds", type=click.FloatRange(0, min_open=True), help="Of a video on a warm host, as you saw.")
@json_option
def cost(
    volumes: tuple[float, ...],
    stock: bool,
    spot: bool,
    videos_per_job: int,
    host_price: float | None,
    work_seconds: float | None,
    as_json: bool,
) -> None:
    """What so many 5-minute videos a day cost on AWS, by which formula, from which inputs."""
    from sentinel_assets import report
    from sentinel_assets.cost import VOLUMES, Terms, statement

    terms = Terms(not stock, spot, videos_per_job, host_price, work_seconds)
    made = statement(volumes or VOLUMES, terms)
    if as_json:
        report.print_json(out, made)
    else:
        report.print_cost(out, made)


@cli.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Of the web page; a free one by default.")
def dev(port: int | None) -> None:
    """Run the Dagster UI over this machine's data until Ctrl-C."""
    from sentinel_assets.session import serve

    sys.exit(serve(port, out=out, err=err))


cli.add_command(stale)
cli.add_command(backfill)
cli.add_command(vectors)
cli.add_command(kept)


def _choose(profile: str | None, rate: float | None) -> None:
    """Options win over the environment; everything below reads the environment, also in other processes."""
    if profile:
        os.environ["SENTINEL_PROFILE"] = profile
    if rate is not None:
        os.environ["SENTINEL_SAMPLE_RATE"] = str(rate)
        from sentinel_assets.parameters import sampling

        try:
            sampling()
        except SentinelError as error:
            raise click.BadParameter(f"{error.what}. {error.remedy}", param_hint="--rate") from error


def _warehouse() -> AbstractContextManager[Warehouse]:
    from resources.warehouse import connect

    return connect(Settings.from_env())


def _filter(*, video_id: int | None = None, for_review: bool = False, **filters: Any) -> SearchFilter:
    from resources.warehouse import SearchFilter

    try:
        return SearchFilter(video_id=video_id, needs_review=True if for_review else None, **filters)
    except SentinelError as error:
        raise click.UsageError(f"{error.what}. {error.remedy}") from error


def main() -> None:
    """Run the command line; what we raise on purpose is one line on stderr and exit code 1."""
    try:
        cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        err.print("Interrupted. Run the same command again to go on.")
        sys.exit(130)
    except SentinelError as error:
        err.print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True, highlight=False)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)
