"""What an upgrade changed: the events of before against those of after, video by video.

    report = compare_videos(before, after)   # tables.EVENTS by partition
    print(report_markdown(report, names))

Two events are the same one where they are of one type and their times overlap; of several candidates the pair that
overlaps most counts (intersection over union), each event once. So a track that is numbered otherwise changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sentinel_assets.previews.lanes import ALARMS
from sentinel_assets.previews.markdown import escape

_MOVED_S = 1.0  # a sample's distance at the default rate: less is the same event seen at another sample
_SURER = 0.05


@dataclass(frozen=True)
class Change:
    """One event that is not as it was. `before` is None where it was added, `after` where it is gone."""

    partition: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None
    what: tuple[str, ...] = ()
    """Of an event that is there in both: which of its columns differ."""

    @property
    def kind(self) -> str:
        return "added" if self.before is None else "gone" if self.after is None else "changed"

    @property
    def event(self) -> Mapping[str, Any]:
        found = self.after or self.before
        assert found is not None
        return found


@dataclass(frozen=True)
class Report:
    videos: int
    before: int
    after: int
    unchanged: int
    changes: tuple[Change, ...]

    @property
    def counts(self) -> Counter[str]:
        return Counter(change.kind for change in self.changes)

    @property
    def agreement(self) -> float | None:
        """The share of all events, of before or after, that are there in both, [0, 1]; None where there is no event."""
        both = self.unchanged + self.counts["changed"]
        every = both + self.counts["added"] + self.counts["gone"]
        return both / every if every else None


def compare_videos(before: Mapping[str, pd.DataFrame], after: Mapping[str, pd.DataFrame]) -> Report:
    """Both hold the same partitions."""
    changes: list[Change] = []
    unchanged = 0
    for partition in sorted(before.keys() & after.keys()):
        old, new = _rows(before[partition]), _rows(after[partition])
        pairs = _matched(old, new)
        for i, j in pairs:
            if what := _differences(old[i], new[j]):
                changes.append(Change(partition, old[i], new[j], what))
            else:
                unchanged += 1
        gone, came = {i for i, _ in pairs}, {j for _, j in pairs}
        changes += [Change(partition, row, None) for i, row in enumerate(old) if i not in gone]
        changes += [Change(partition, None, row) for j, row in enumerate(new) if j not in came]
    both = before.keys() & after.keys()
    return Report(
        len(both), sum(len(before[p]) for p in both), sum(len(after[p]) for p in both), unchanged, tuple(changes)
    )


def telling(report: Report, count: int) -> list[Change]:
    """At most `count` changes: alarms first, then what is gone, what came, and what changed."""
    kinds = ("gone", "added", "changed")
    by_weight = sorted(report.changes, key=lambda c: (c.event["event_type"] not in ALARMS, kinds.index(c.kind)))
    return by_weight[:count]


def report_markdown(report: Report, names: Mapping[str, str], *, limit: int = 100) -> str:
    """`names`: what people call each video."""
    counts = report.counts
    agreement = (
        "no event in either" if report.agreement is None else f"{report.agreement:.0%} of the events are in both"
    )
    lines = [
        f"{report.videos} video{'' if report.videos == 1 else 's'}, "
        f"{report.before} events before and {report.after} after: {agreement}; "
        f"{report.unchanged} unchanged, {counts['changed']} changed, {counts['added']} added, {counts['gone']} gone.",
        "",
    ]
    if report.changes:
        lines += ["| | video | time | event | description | what |", "|---|---|---|---|---|---|"]
    for change in report.changes[:limit]:
        event = change.event
        name = escape(names.get(change.partition, change.partition))
        span = f"{event['timestamp']:.1f}-{event['end_s']:.1f} s"
        said = escape(str(event["description"]))
        lines.append(f"| {change.kind} | {name} | {span} | {event['event_type']} | {said} | {', '.join(change.what)} |")
    if len(report.changes) > limit:
        lines.append(f"\nand {len(report.changes) - limit} more.")
    return "\n".join(lines) + "\n"


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in frame.drop(columns="embedding").to_dict("records")]


def _matched(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[tuple[int, int]]:
    candidates = sorted(((_overlap(a, b), -i, -j) for i, a in enumerate(old) for j, b in enumerate(new)), reverse=True)
    pairs: list[tuple[int, int]] = []
    used_old: set[int] = set()
    used_new: set[int] = set()
    for overlap, i, j in candidates:
        if overlap > 0 and -i not in used_old and -j not in used_new:
            pairs.append((-i, -j))
            used_old.add(-i)
            used_new.add(-j)
    return sorted(pairs)


def _overlap(a: Mapping[str, Any], b: Mapping[str, Any]) -> float:
    """Intersection over union of their times; events of no length count as 1 ms. 0 of two types."""
    if a["event_type"] != b["event_type"]:
        return 0.0
    ends = [max(one["end_s"], one["timestamp"] + 1e-3) for one in (a, b)]
    shared = min(ends) - max(a["timestamp"], b["timestamp"])
    return float(max(0.0, shared) / (max(ends) - min(a["timestamp"], b["timestamp"])))


def _differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[str, ...]:
    what = [name for name in ("description", "gender", "needs_review") if a[name] != b[name]]
    if max(abs(a["timestamp"] - b["timestamp"]), abs(a["end_s"] - b["end_s"])) > _MOVED_S:
        what.append("time")
    if abs(a["confidence"] - b["confidence"]) > _SURER:
        what.append("confidence")
    if pd.isna(a["age"]) != pd.isna(b["age"]) or (not pd.isna(a["age"]) and abs(a["age"] - b["age"]) > 1):
        what.append("age")
    return tuple(what)
