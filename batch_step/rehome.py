"""Events made on the worker's throw-away instance name things that exist only there. Before the host stores an event it
is re-homed: versions of the inputs, pointers to them and the targets of checks are taken from the host's instance, by
Dagster's own functions. Without this the records look whole and are wrong: after an upstream change the asset stays
fresh for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import dagster as dg

from batch_step.dagster_internals import (
    CODE_VERSION_TAG,
    DATA_VERSION_IS_USER_PROVIDED_TAG,
    DATA_VERSION_TAG,
    AssetCheckEvaluation,
    AssetCheckEvaluationTargetMaterializationData,
    StepMaterializationData,
    build_data_version_tags,
    compute_logical_data_version,
    get_code_version,
    get_input_provenance_data,
    replace_record,
)

_LINEAGE = "dagster/input_"
_STARTS = (dg.DagsterEventType.STEP_START, dg.DagsterEventType.STEP_RESTARTED)


class Rehomer:
    """Re-homes the events of one step, in their order."""

    def __init__(self, context: dg.StepExecutionContext) -> None:
        self._context = context
        self._read_inputs()

    def __call__(self, entry: dg.EventLogEntry) -> dg.EventLogEntry:
        event = entry.dagster_event
        if event is None:
            return entry
        if event.event_type in _STARTS:
            # The inputs are read now, which may be long after the launch: these are the versions that the step saw.
            self._read_inputs()
        elif event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
            data = cast(StepMaterializationData, event.event_specific_data)
            return _with(entry, self._materialization(data))
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            return _with(entry, self._check(cast(AssetCheckEvaluation, event.event_specific_data)))
        return entry

    def _read_inputs(self) -> None:
        if self._context.is_sda_step:
            self._context.fetch_external_input_asset_version_info()

    def _materialization(self, data: StepMaterializationData) -> StepMaterializationData:
        made = data.materialization
        tags = dict(made.tags or {})
        if DATA_VERSION_TAG not in tags:
            return data  # logged by hand: Dagster gives it no lineage either
        self._context.wipe_input_asset_version_info(made.asset_key)
        from_user = tags.get(DATA_VERSION_IS_USER_PROVIDED_TAG) == "true"
        inputs = self._provenance(made.asset_key, made.partition)
        code_version = get_code_version(made.asset_key, self._context)
        version = (
            dg.DataVersion(tags[DATA_VERSION_TAG])
            if from_user
            else compute_logical_data_version(code_version, {key: m["data_version"] for key, m in inputs.items()})
        )
        own = {k: v for k, v in tags.items() if not k.startswith(_LINEAGE) and k != CODE_VERSION_TAG}
        lineage = build_data_version_tags(version, code_version, cast(Any, inputs), from_user)
        return StepMaterializationData(made._replace(tags={**own, **lineage}), data.asset_lineage)

    def _provenance(self, key: dg.AssetKey, partition: str | None) -> Mapping[dg.AssetKey, dict[str, Any]]:
        """Dagster hashes the inputs of ALL partitions of a run into each partition's version, so a version would depend
        on which partitions shared a run. An input that maps one to one is hashed for this partition alone, which is
        what a run of its own gives."""
        context = self._context
        found: dict[dg.AssetKey, dict[str, Any]] = {
            k: dict(v) for k, v in get_input_provenance_data(key, context).items()
        }
        if partition is None or not context.has_partition_key_range:
            return found
        layer = context.job_def.asset_layer
        mine = layer.get(key).partitions_def
        assets = context.job_def.asset_layer.get_assets_def_for_node(context.node_handle)
        for upstream, data in found.items():
            mapping = assets.get_partition_mapping_for_dep(upstream) if assets is not None else None
            one_to_one = mapping is None or isinstance(mapping, dg.IdentityPartitionMapping)
            if one_to_one and layer.get(upstream).partitions_def == mine:
                data["data_version"] = context._data_version_cache._get_partitions_data_version_from_keys(
                    upstream, [partition]
                )
        return found

    def _check(self, evaluation: AssetCheckEvaluation) -> AssetCheckEvaluation:
        """Points at the host's record of the materialization that was judged: of this partition, or a neighbour's newer
        one would be taken."""
        context = self._context
        partitions = [context.partition_key] if context.has_partition_key else None
        judged = dg.AssetRecordsFilter(asset_key=evaluation.asset_key, asset_partitions=partitions)
        records = context.instance.fetch_materializations(judged, limit=1).records
        target = None
        if records:
            target = AssetCheckEvaluationTargetMaterializationData(
                storage_id=records[0].storage_id, run_id=records[0].run_id, timestamp=records[0].timestamp
            )
        return replace_record(evaluation, target_materialization_data=target)


def _with(entry: dg.EventLogEntry, data: Any) -> dg.EventLogEntry:
    assert entry.dagster_event is not None
    return entry._replace(dagster_event=entry.dagster_event._replace(event_specific_data=data))
