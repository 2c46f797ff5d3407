"""What the commands print: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from resources.model_entries import ModelEntry
    from resources.settings import Settings
    from resources.verdicts import Verdict
    from resources.warehouse import Event, SearchHit, Video
    from resources.weights import Catalogue
    from sentinel_assets.analysis import Outcome
    from sentinel_assets.development import System


_STATUS_STYLE = {"completed": "green", "failed": "red", "processing": "yellow", "pending": "dim"}


def clock(seconds: float) -> str:
    """`01:05`, or `1:01:05` from an hour on."""
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute:02}:{second:02}"


def person(event: Event) -> str:
    """Who, as far as it is known: `woman, 20-30`, `age and gender unknown`."""
    known = []
    if event.gender != "unknown":
        known.append({"male": "man", "female": "woman"}[event.gender])
    if event.age_low is not None and event.age_high is not None:
        known.append(f"{event.age_low:.0f}-{event.age_high:.0f}")
    return ", ".join(known) or "unknown"


def events_table(events: Sequence[Event], verdicts: Mapping[str, Verdict] | None = None) -> Table:
    """With `verdicts` (by event key, maybe none) also each event's key, by which it is reviewed, and what was said."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    reviewed = ("Key", "Verdict") if verdicts is not None else ()
    for name in ("Time", "Event", "Track", "Who", "Sure", *reviewed, "Description"):
        table.add_column(name, justify="right" if name in ("Track", "Sure") else "left", overflow="fold")
    for event in events:
        kind = Text(event.event_type + (" (for review)" if event.needs_review else ""))
        table.add_row(
            f"{clock(event.timestamp)}-{clock(event.end_s)}",
            kind,
            str(event.track),
            person(event),
            f"{event.confidence:.0%}",
            *_reviewed(event, verdicts),
            Text(event.description),
        )
    return table


def _reviewed(event: Event, verdicts: Mapping[str, Verdict] | None) -> list[Text]:
    if verdicts is None:
        return []
    said = verdicts.get(event.event_key)
    words = "" if said is None else said.verdict + (f": {said.note}" if said.note else "")
    return [Text(event.event_key), Text(words, style={"confirmed": "green"}.get(said.verdict, "red") if said else "")]


def hits_table(hits: Sequence[SearchHit]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("Near", "Video", "Time", "Event", "Who", "Description"):
        table.add_column(name, justify="right" if name == "Near" else "left", overflow="fold")
    for hit in hits:
        event = hit.event
        table.add_row(
            f"{hit.similarity:.3f}",
            Text(f"{event.video_id} {hit.video_name}"),
            f"{clock(event.timestamp)}-{clock(event.end_s)}",
            event.event_type,
            person(event),
            Text(event.description),
        )
    return table


def videos_table(videos: Sequence[Video]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("Id", "Video", "Status", "Done", "Length", "Events", "What it says"):
        table.add_column(
            name, justify="right" if name in ("Id", "Done", "Length", "Events") else "left", overflow="fold"
        )
    for video in videos:
        stage = (video.stage or "") if video.status == "processing" else ""  # of what is over it says nothing
        table.add_row(
            str(video.id),
            Text(video.name),
            Text(video.status, style=_STATUS_STYLE.get(video.status, "")),
            f"{video.analysis_progress}%",
            clock(video.duration_s) if video.duration_s is not None else "",
            "" if video.event_count is None else str(video.event_count),
            Text(video.error or "; ".join(video.warnings) or stage),
        )
    return table


def model_row(catalogue: Catalogue, entry: ModelEntry) -> dict[str, Any]:
    """What `models list` and `models verify` tell of one model."""
    uses = [
        p for p in catalogue.profiles if any(e.name == entry.name for es in catalogue.profile(p).values() for e in es)
    ]
    return {
        "name": entry.name,
        "version": entry.version,
        "roles": list(entry.roles),
        "profiles": uses,
        "licence": entry.licence,
        "accept_licence": entry.accept,
        "state": str(catalogue.verify(entry)),
        "size_bytes": entry.size,
        "sha256": entry.sha256,
        "sources": list(entry.sources),
        "published_as": list(entry.published_as),
        "published_at": entry.published_at,
        "purpose": entry.purpose,
    }


def models_table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("Model", "Role", "Profiles", "Licence", "Weights", "What it is for"):
        table.add_column(name, overflow="fold")
    for row in rows:
        size = f", {row['size_bytes'] / 1e6:.1f} MB" if row["size_bytes"] else ""
        table.add_row(
            row["name"],
            ", ".join(row["roles"]),
            ", ".join(row["profiles"]),
            row["licence"],
            f"{row['state']}{size}",
            Text(row["purpose"]),
        )
    return table


def system_lines(system: System, settings: Settings) -> list[str]:
    """Where everything is that `sentinel dev` runs, and how to put a video into it."""
    where = system.environment
    bucket, endpoint = where["SENTINEL_FOOTAGE_BUCKET"], where["AWS_ENDPOINT_URL"]
    key, secret = where["AWS_ACCESS_KEY_ID"], where["AWS_SECRET_ACCESS_KEY"]
    ours = f"   user sentinel, password in {_as_seen_from_here(settings.home / 'postgres' / 'password')}"
    again = [f"{system.announced} uploads of before are analysed now"] if system.announced else []
    return [
        f"Dagster UI   {system.ui}/asset-groups",
        f"PostgreSQL   {system.database}{ours if settings.database_url is None else ''}",
        f"S3           {endpoint}   bucket {bucket}",
        f"SQS          {where['SENTINEL_UPLOAD_QUEUE']}",
        "Upload from another terminal: sentinel upload VIDEO..., or with any AWS client:",
        f"  AWS_ACCESS_KEY_ID={key} AWS_SECRET_ACCESS_KEY={secret} AWS_DEFAULT_REGION={where['AWS_DEFAULT_REGION']} "
        f"aws --endpoint-url {endpoint} s3 cp VIDEO s3://{bucket}/",
        *again,
        "Ctrl-C stops it.",
    ]


def _as_seen_from_here(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def outcome_json(outcome: Outcome, events: Sequence[Event]) -> dict[str, Any]:
    return {
        "video": plain(outcome.video),
        "error": outcome.error,
        "made": list(outcome.made),
        "seconds": round(outcome.seconds, 3),
        "events": [plain(e) for e in events],
    }


def plain(thing: Any) -> dict[str, Any]:
    """A dataclass as JSON types; vectors are left out, since nobody reads hundreds of numbers."""
    return {k: _plain_value(v) for k, v in asdict(thing).items() if k != "embedding"}


def reviewed_event(event: Event, said: Verdict | None) -> dict[str, Any]:
    """An event as JSON types, with `verdict`: null, or what was said of it, why and when."""
    told = None
    if said is not None:
        told = {"verdict": said.verdict, "note": said.note, "created_at": said.created_at.isoformat()}
    return {**plain(event), "verdict": told}


def _plain_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {k: _plain_value(v) for k, v in value.items() if k != "embedding"}
    if isinstance(value, (list, tuple)):
        return [_plain_value(v) for v in value]
    return value


def print_json(console: Console, value: Any) -> None:
    console.file.write(json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def print_cost(out: Console, made: dict[str, Any]) -> None:
    """The statement of `sentinel_assets.cost`, for people."""
    warm = made["warm_video"]
    out.print(
        f"A 5-minute video on a warm host: {warm['seconds']:.1f} s, ${warm['usd']:.4f}. Start of a job"
        f" {made['job_start_s']:.1f} s, of a host {made['cold_start_s']:.0f} s; a host is"
        f" ${made['terms']['usd_per_host_hour']:.3f} an hour.",
        highlight=False,
    )
    out.print()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in (
        "Videos/day",
        "Cold",
        "Host s",
        "$/video",
        "without idle",
        "before",
        "before, with idle",
        "GPU $/month",
    ):
        table.add_column(name, justify="right")
    low, high = made["predecessor"]["usd_per_video"]
    for row in made["volumes"]:
        table.add_row(
            f"{row['videos_per_day']:,.0f}",
            f"{row['cold_share']:.0%}",
            f"{row['host_s']:.0f}",
            f"{row['usd_per_video']:.4f}",
            f"{row['usd_per_video_without_idle']:.4f}",
            f"{low:.2f}-{high:.2f}",
            "-".join(f"{usd:.2f}" for usd in row["predecessor_with_idle"]),
            f"{row['usd_per_month']:,.2f}",
        )
    out.print(table)
    out.print()
    fixed = made["fixed_usd_per_month"]
    parts = ", ".join(f"{name} {usd:.0f}" for name, usd in fixed.items())
    out.print(
        f"Beside it, at any volume: ${sum(fixed.values()):.0f} a month ({parts}).", highlight=False, soft_wrap=True
    )
    out.print()
    inputs = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("Input", "Value", "Basis", "Source"):
        inputs.add_column(name, overflow="fold")
    for name, one in made["inputs"].items():
        inputs.add_row(name, f"{one['value']:.4g} {one['unit']}", str(one["basis"]), one["source"])
    out.print(inputs)
