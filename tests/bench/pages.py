"""What the pages of the Dagster UI ask its server, over HTTP, and how long that takes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from sentinel_assets.development import free_port, graphql
from sentinel_assets.freshness import DEPENDENCIES
from sentinel_assets.vision.errors import StoreUnavailable

_START_S = 120.0

_GRAPH = """query($keys: [AssetKeyInput!]!) {
  assetNodes(assetKeys: $keys) { id partitionStats { numMaterialized numMaterializing numPartitions numFailed } }
  assetsLatestInfo(assetKeys: $keys) { id latestMaterialization { timestamp runId } unstartedRunIds inProgressRunIds }
}"""
_PARTITIONS = """query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
  partitionKeysByDimension { name partitionKeys }
  assetPartitionStatuses { ... on DefaultPartitionStatuses {
    materializedPartitions materializingPartitions failedPartitions unmaterializedPartitions } } } } }"""
_VIDEO = """query($key: AssetKeyInput!, $partition: String!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
  staleStatus(partition: $partition) staleCauses(partition: $partition) { reason }
  latestMaterializationByPartition(partitions: [$partition]) { timestamp runId metadataEntries { label } tags { key } }
  assetMaterializations(partitions: [$partition], limit: 100) { timestamp runId } } } }"""


def pages(address: str, video: str) -> dict[str, Callable[[], object]]:
    """By the page's name, what asks for it; of an asset that nearly all others go through."""
    poses = {"path": ["poses"]}
    graph = {"keys": [{"path": [asset]} for asset in DEPENDENCIES]}
    return {
        "the UI's graph": lambda: answered(graphql(address, _GRAPH, graph)),
        "the UI's partitions of an asset": lambda: answered(graphql(address, _PARTITIONS, {"key": poses})),
        "the UI's page of a video": lambda: answered(graphql(address, _VIDEO, {"key": poses, "partition": video})),
    }


def answered(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Raises where a part of the question was refused, which GraphQL says in the answer."""
    assert data
    assert None not in data.values(), data
    return data


@contextmanager
def webserver(home: Path, storage: Mapping[str, Any]) -> Iterator[str]:
    """The address of a Dagster UI over our code location and that storage, until the end of the context."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "dagster.yaml").write_text(yaml.safe_dump({"storage": dict(storage), "telemetry": {"enabled": False}}))
    port = free_port()
    command = [sys.executable, "-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(port)]
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "-m", "sentinel_assets.definitions"],
            env={**os.environ, "DAGSTER_HOME": str(home)},
            stdout=log,
            stderr=log,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_for(address, server, home / "log")
            yield address
        finally:
            server.terminate()
            server.wait()


def _wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            if graphql(address, "{ assetNodes { id } }").get("assetNodes"):
                return
        except StoreUnavailable:
            pass
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the Dagster UI did not start: {log.read_text()[-2000:]}")
        time.sleep(0.2)
