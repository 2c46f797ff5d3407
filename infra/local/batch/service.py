"""The local Batch, put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import boto3.session
from botocore.config import Config

from infra.local.batch.api import BatchApi
from infra.local.batch.faults import Faults
from infra.local.batch.host import Clients, Host
from infra.local.batch.logs import LogService
from infra.local.batch.registry import Registry
from infra.local.batch.scheduler import Scheduler
from infra.local.batch.settings import BatchSettings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class LocalBatch:
    """A WSGI application, a scheduler, and the processes it runs; `close` ends them.

    `endpoint` is where CloudWatch Logs and Secrets Manager are: the same server, reached over HTTP like any other.
    """

    def __init__(self, endpoint: str, access_key: str, settings: BatchSettings, environment: Mapping[str, str]) -> None:
        session = boto3.session.Session(access_key, access_key, region_name=settings.region)
        self._settings = settings
        self.faults = Faults()
        direct = Config(proxies={})  # whatever proxy the user's environment names
        self._clients = Clients(
            secretsmanager=session.client("secretsmanager", endpoint_url=endpoint, config=direct),
            ssm=session.client("ssm", endpoint_url=endpoint, config=direct),
            logs=LogService(session.client("logs", endpoint_url=endpoint, config=direct)),
        )
        self._host = Host(settings, self.faults, self._clients, environment)
        self._registry = Registry(settings)
        self._scheduler = Scheduler(settings, self._registry, self.faults, self._host)
        self.faults.on_change = self._scheduler.wake
        self._api = BatchApi(settings, self._registry, self._scheduler, self.faults)

    def is_for(self, environ: WSGIEnvironment) -> bool:
        return self._api.is_for(environ)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self._api(environ, start_response)

    def running(self) -> dict[str, int]:
        """Process ids of the jobs that run, by job id: for tests that kill them, as a kernel would."""
        return self._host.running()

    def reset(self) -> None:
        """Kill and forget everything: jobs, queues, definitions, environments, faults."""
        self._scheduler.forget_all()
        self._registry.clear()
        self.faults.clear()
        self._clients.logs.forget()

    def close(self) -> None:
        self._scheduler.close()
        for client in (self._clients.secretsmanager, self._clients.ssm, self._clients.logs.client):
            client.close()
