"""What a run recorded, in a form in which two runs of the same thing are equal: without ids, times and durations."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import Any

import dagster as dg

# Of the launching, not of the step; and of resources, which in process are made once for the run.
_LEFT_OUT = (
    "ENGINE_EVENT",
    "RESOURCE_INIT_STARTED",
    "RESOURCE_INIT_SUCCESS",
    "STEP_WORKER_STARTED",
    "STEP_WORKER_STARTING",
)
_VARYING = {"timestamp", "duration_ms", "pid", "stack", "file_key", "storage_id", "input_storage_ids"}
_TIMES = re.compile(r"in \d+(\.\d+)?(ms|s)\b|pid: \d+")

Stream = dict[str, list[dict[str, Any]]]


def stream_of(instance: dg.DagsterInstance, run_id: str) -> Stream:
    """The stored events and log lines of a run by step, in their order. Ids of records become what they point at."""
    names = _record_names(instance)
    found: Stream = defaultdict(list)
    for entry in instance.all_logs(run_id):
        event = entry.dagster_event
        if entry.step_key is None or (event is not None and event.event_type_value in _LEFT_OUT):
            continue
        if event is None:
            found[entry.step_key].append({"type": "LOG", "level": entry.level, "message": entry.user_message})
            continue
        data = event.event_specific_data
        said: dict[str, Any] = {"type": event.event_type_value, "message": _TIMES.sub("", event.message or "")}
        if data is not None:
            plain = json.loads(dg.serialize_value(data))
            said["data"] = json.loads(json.dumps(_plain(plain, names)).replace(run_id, "RUN"))
        found[entry.step_key].append(said)
    return dict(found)


def _record_names(instance: dg.DagsterInstance) -> dict[int, str]:
    """'asset@partition#n' of each materialization, by its storage id: the n-th of that asset and partition."""
    counts: dict[str, int] = defaultdict(int)
    names: dict[int, str] = {}
    for key in instance.all_asset_keys():
        records = instance.fetch_materializations(key, limit=1000, ascending=True).records
        for record in records:
            name = f"{key.to_user_string()}@{record.partition_key}"
            counts[name] += 1
            names[record.storage_id] = f"{name}#{counts[name]}"
    return names


def _plain(value: Any, names: dict[int, str]) -> Any:
    if isinstance(value, list):
        return [_plain(v, names) for v in value]
    if not isinstance(value, dict):
        return value
    out = {}
    for key, v in value.items():
        if key == "storage_id":
            out[key] = names.get(v, f"unknown record {v}")
        elif key.startswith("dagster/input_event_pointer/") and isinstance(v, str):
            out[key] = names.get(int(v), f"unknown record {v}") if v.isdigit() else v
        elif key not in _VARYING:
            out[key] = _plain(v, names)
    return out
