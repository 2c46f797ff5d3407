"""The longer commands: several videos with a progress bar, the demonstration, the Dagster UI."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from resources.settings import Settings
from resources.warehouse import Video, Warehouse, connect
from resources.weights import Catalogue
from sentinel_assets import report
from sentinel_assets.analysis import Outcome, analyse, fetch_weights, pull_weights
from sentinel_assets.development import whole_system
from sentinel_assets.interrupts import ended_by_signals
from sentinel_assets.search import search_hits
from sentinel_assets.vision.errors import SentinelError, StoreUnavailable
from sentinel_assets.workplace import Workplace, open_workplace

if TYPE_CHECKING:
    from sentinel_assets.journey import Journey

_POLL_S = 0.3  # between two looks at the video's row for the progress bar

DEMO_QUERIES = (("a person standing still", "English"), ("걷고 있는 사람", "Korean, 'a person who is walking'"))


def analyse_all(paths: Sequence[Path], *, again: bool, as_json: bool, out: Console, err: Console) -> int:
    """Analyse one video after the other; a bad one fails alone. Returns the exit code."""
    settings = Settings.from_env()
    failed, results = False, []
    with open_workplace(settings) as place:
        for path in paths:
            outcome = _with_progress_bar(path, place, again, err)
            failed = failed or outcome.error is not None
            if as_json:
                events = [] if outcome.error else place.warehouse.events(outcome.video.id)
                results.append(report.outcome_json(outcome, events))
            else:
                _print_outcome(outcome, place, out)
            if outcome.error:
                err.print(f"[red]error:[/red] {escape(outcome.error)}", soft_wrap=True, highlight=False)
    if as_json:
        report.print_json(out, {"videos": results})
    return 1 if failed else 0


def demonstrate(path: Path | None, *, out: Console, err: Console) -> int:
    """A clip's whole way from the upload to its events, two searches over them, and where to look next."""
    from sentinel_assets.journey import Journey, known, running_system, travel

    settings = Settings.from_env()
    if path is None:
        path = _sample(settings, out)
    fetch_weights_with_bar(settings, err)
    if video := known(path, settings):
        _show_journey(Journey(video, ()), None, settings, out)
        return 0
    with ended_by_signals(), ExitStack() as stack:
        watch = stack.enter_context(_one_bar(path.name, err))
        system, start_s = stack.enter_context(running_system(settings, watch))
        journey = travel(path, system, settings, watch)
        watch(path.name, 100)
    _show_journey(journey, start_s, settings, out)
    return 0


def _show_journey(journey: Journey, start_s: float | None, settings: Settings, out: Console) -> None:
    """`start_s`: what the start of the system took, if it was started for this."""
    video = journey.video
    with connect(settings) as warehouse:
        _print_events(video, warehouse, sum(seconds for _, seconds in journey.parts) or None, out)
        if journey.parts:
            out.print("\nWhere the time went")
            start = [] if start_s is None else [("the start of PostgreSQL, S3, SQS, Batch and Dagster", start_s)]
            for name, seconds in [*start, *journey.parts]:
                out.print(f"{seconds:6.1f} s  {escape(name)}", highlight=False)
        for text, language in DEMO_QUERIES:
            out.print(f"\n[bold]$ sentinel search {escape(repr(text))} --limit 3[/bold]  [dim]({language})[/dim]")
            out.print(report.hits_table(search_hits(warehouse, text, limit=3)))
    program = Path(sys.argv[0])
    shown = os.path.relpath(program) if program.is_absolute() else str(program)
    out.print("\nLook next at")
    out.print(f"  {shown} dev                the system again, with the Dagster UI, and where to upload to")
    out.print(f"  {shown} analyze VIDEO...   your own footage, here and now")
    out.print(f"  {shown} events {video.id}           the events of this video")
    out.print(f"  {shown} search TEXT        all videos, by meaning")


@contextmanager
def _one_bar(name: str, err: Console) -> Iterator[Callable[[str, float], None]]:
    """One bar for the whole way, where a person watches."""
    if not err.is_terminal:
        yield lambda _text, _percent: None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task(escape(name), total=100)
        furthest = 0.0

        def watch(text: str, percent: float) -> None:
            nonlocal furthest
            furthest = max(furthest, percent)
            bar.update(task, completed=furthest, description=escape(text))

        yield watch


def serve(port: int | None, *, out: Console, err: Console) -> int:
    """The whole system on loopback, over the same data as the commands, until Ctrl-C."""
    settings = Settings.from_env()
    fetch_weights_with_bar(settings, err)
    with ended_by_signals():
        try:
            err.print("Starting; on a busy machine this takes a minute.")
            with whole_system(settings, port) as (system, keeper):
                for line in report.system_lines(system, settings):
                    out.print(line, soft_wrap=True, highlight=False, markup=False)
                code = keeper.wait()
        except KeyboardInterrupt:
            return 0
    remedy = f"Its own words are at the end of {settings.home / 'dagster.log'}"
    raise SentinelError(f"a part of the system ended ({code})", where="sentinel dev", remedy=remedy)


def fetch_weights_with_bar(settings: Settings, err: Console) -> dict[str, Path]:
    """All weights of the profile, verified; what is not here yet is fetched, with a bar where a person watches."""
    with _weights_bar(err) as on_progress:
        return fetch_weights(settings.profile, on_progress)


def pull_weights_with_bar(
    settings: Settings, err: Console, *, licences: Sequence[str], mirror: str | None
) -> dict[str, Path]:
    with _weights_bar(err) as on_progress:
        return pull_weights(settings.profile, on_progress, licences=licences, mirror=mirror)


@contextmanager
def _weights_bar(err: Console) -> Iterator[Callable[[str, float], None]]:
    if not err.is_terminal:
        yield lambda _name, _fraction: None
        return
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), console=err, transient=True
    ) as bar:
        yield VideoBar(bar).fetching


class VideoBar:
    """The bar of one video: follows its row in the warehouse, in a thread of its own with a connection of its own."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._tasks: dict[str, TaskID] = {}
        self._done = threading.Event()
        self._threads: list[threading.Thread] = []

    def registered(self, row: Video) -> None:
        task = self._bar.add_task(row.name, total=100)
        self._threads.append(threading.Thread(target=self._follow, args=(row, task), daemon=True))
        self._threads[-1].start()

    def fetching(self, model: str, fraction: float) -> None:
        if model not in self._tasks:
            self._tasks[model] = self._bar.add_task(f"weights of {model}", total=1.0, visible=False)
        self._bar.update(self._tasks[model], completed=fraction, visible=fraction < 1.0)

    def close(self) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _follow(self, row: Video, task: TaskID) -> None:
        """What an earlier analysis left on the row is not this one's progress: a bar once at 100 would stay there."""
        with connect(Settings.from_env()) as warehouse:
            while not self._done.wait(_POLL_S):
                try:
                    now = warehouse.video(row.partition_key)
                except StoreUnavailable:
                    continue  # the analysis itself will say so; the bar only waits
                if now.analysis == row.analysis:
                    continue  # ours has not begun
                stage = f"{row.name}  {now.stage}" if now.stage else row.name
                self._bar.update(task, completed=now.analysis_progress, description=stage)


class NoBar:
    """Where no person watches."""

    def registered(self, row: Video) -> None: ...

    def fetching(self, model: str, fraction: float) -> None: ...


def _with_progress_bar(path: Path, place: Workplace, again: bool, err: Console) -> Outcome:
    if not err.is_terminal:
        return analyse(path, place, NoBar(), again=again)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    # Dagster redirects the process's own stderr while a step runs; the bar goes to where it led before.
    with os.fdopen(os.dup(sys.stderr.fileno()), "w") as terminal:
        console = Console(file=terminal, force_terminal=True)
        with Progress(*columns, console=console, transient=True) as progress:
            bar = VideoBar(progress)
            try:
                return analyse(path, place, bar, again=again)
            finally:
                bar.close()


def _sample(settings: Settings, out: Console) -> Path:
    from sentinel_assets.sample import compose_sample

    path = settings.home / "sample" / "composition.mp4"
    out.print("The sample clip is a composition: people cut out of two photos, moved over a wall. Not real footage.")
    if not path.exists():
        catalogue = Catalogue.load()
        bus, zidane = (catalogue.fetch(catalogue.model(name)) for name in ("photo-bus", "photo-zidane"))
        compose_sample(bus, zidane, path)
    return path


def _print_outcome(outcome: Outcome, place: Workplace, out: Console) -> None:
    if not outcome.error:
        _print_events(outcome.video, place.warehouse, outcome.seconds if outcome.made else None, out)


def _print_events(video: Video, warehouse: Warehouse, seconds: float | None, out: Console) -> None:
    """`seconds`: what it took; None where nothing had to be done."""
    events = warehouse.events(video.id)
    done = "was up to date" if seconds is None else f"analysed in {seconds:.1f} s"
    length = "" if video.duration_s is None else f", {report.clock(video.duration_s)}"
    out.print(f"\n[bold]{escape(video.name)}[/bold] (video {video.id}{length}) {done}: {len(events)} events")
    for warning in video.warnings:
        out.print(f"[yellow]note:[/yellow] {escape(warning)}")
    if events:
        out.print(report.events_table(events))
