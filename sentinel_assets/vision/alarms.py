"""False-alarm control: of alarms of one rule that follow each other closely on one camera, only the first is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sentinel_assets.vision.behavior_parameters import BehaviorParameters
from sentinel_assets.vision.findings import Finding

_COOLING = ("theft", "violent", "anomaly")
"""Not `collapse`: a second person who falls is never a repeat."""


def cooled_down(findings: Sequence[Finding], parameters: BehaviorParameters) -> list[Finding]:
    """The findings of one camera's video with repeats marked: within `cooldown_s` of an alarm of the same rule, one of
    the same people becomes part of it, and one of others stands without asking for review. None is lost."""
    first: dict[str, int] = {}
    kept: list[Finding] = []
    for finding in sorted(findings, key=lambda f: (f.start_s, f.track, f.rule)):
        place = first.get(finding.rule)
        if finding.behavior not in _COOLING:
            kept.append(finding)
        elif place is None or finding.start_s - kept[place].end_s > parameters.cooldown_s:
            first[finding.rule] = len(kept)
            kept.append(finding)
        elif (kept[place].track, kept[place].other_track) == (finding.track, finding.other_track):
            kept[place] = _repeated(kept[place], finding)
        else:
            kept.append(_quiet(finding, kept[place], parameters))
    return kept


def _repeated(alarm: Finding, again: Finding) -> Finding:
    best = alarm if alarm.confidence >= again.confidence else again
    times = int(alarm.values.get("repeats", 0)) + 1
    return replace(
        best,
        start_s=alarm.start_s,
        end_s=max(alarm.end_s, again.end_s),
        values={**best.values, "repeats": times},
        samples=sorted({*alarm.samples, *again.samples}),
        needs_review=alarm.needs_review or again.needs_review,
    )


def _quiet(finding: Finding, alarm: Finding, parameters: BehaviorParameters) -> Finding:
    return replace(
        finding,
        needs_review=False,
        values={**finding.values, "repeat_of_track": alarm.track},
        thresholds={**finding.thresholds, "cooldown_s": parameters.cooldown_s},
        note=f"follows the same alarm of track {alarm.track}" + (f"; {finding.note}" if finding.note else ""),
    )
