"""The connection to a Dask cluster: an embedded one, which is started and restarted here, or one at an address.

`Connection.maintain`, called every second by the engine, makes the connection, notices when it is
lost, and connects again. `ready` returns it to callers that have something to send.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnviz.engine.cluster import Place, default_workers
from rnnviz.errors import HostError

if TYPE_CHECKING:
    from distributed import Client

CONNECT_SECONDS = 30
RETRY_SECONDS = 5.0
DESERTED_SECONDS = 120.0  # an embedded cluster without workers is restarted after this long
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Worker:
    """A worker as the scheduler last saw it; memory in bytes, `memory_limit` 0 if there is none.

    `gpu` says whether it was started with Dask's resource of that name.
    """

    memory: int
    memory_limit: int
    tasks: int
    gpu: bool = False


class Connection:
    """A cluster to submit to. The constructor returns at once; `maintain` connects."""

    def __init__(self, address: str | None, workers: int | None, worker_mib: int | None = None) -> None:
        self.workers: Mapping[str, Worker] = {}
        self._address, self._count, self._worker_mib = address, workers or default_workers(), worker_mib
        self._process: subprocess.Popen[str] | None = None
        self._client: Client | None = None
        self._error: Exception | None = None
        self._tried_at = -RETRY_SECONDS
        self._worked_at = time.monotonic()  # when a worker was last there
        self._closed = False

    def ready(self) -> Client | None:
        """The connection; None while it is being made. Raises HostError where there is none."""
        client = self._client
        if client is not None and client.status == "running":
            return client
        if self._error is not None or self._closed:
            raise HostError("the workers cannot be reached: {reason}", reason=self._error or "no connection")
        return None

    @property
    def error(self) -> Exception | None:
        """Why there is no cluster; None if there is one or one is expected."""
        return self._error

    def maintain(self) -> None:
        """Connect if there is no connection; otherwise update the list of workers, or notice a lost cluster."""
        if self._closed:
            return
        if self._client is not None and not self._is_lost(self._client):
            self._look(self._client)
        elif time.monotonic() - self._tried_at >= RETRY_SECONDS:
            self._let_go()
            self._connect()
            self._tried_at = time.monotonic()

    def _is_lost(self, client: Client) -> bool:
        if self._process is None:
            return client.status != "running"
        deserted = time.monotonic() - self._worked_at > DESERTED_SECONDS
        return client.status != "running" or self._process.poll() is not None or deserted

    def _look(self, client: Client) -> None:
        try:
            seen = client.scheduler_info(n_workers=-1)["workers"]
        except Exception as error:  # the connection is being lost; the next call will notice
            _log.warning("the scheduler does not answer: %s", error)
            return
        self.workers = {address: _worker(values) for address, values in seen.items()}
        if seen:
            self._worked_at = time.monotonic()

    def _let_go(self) -> None:
        """Drop a lost cluster: what waits for it fails now, and is sent again once there is another."""
        client, self._client, self.workers = self._client, None, {}
        if client is not None:
            _log.warning("the cluster is lost; connecting again")
            self._error = None
            client.close(timeout=1)
        self._end_process()

    def _connect(self) -> None:
        try:
            client = self._new_client()
            self._worked_at = time.monotonic()
            self._look(client)
            self._client, self._error = client, None
            _log.info("connected to %s with %d workers", self._address or "our own cluster", len(self.workers))
        except Exception as error:
            _log.error("the cluster cannot be reached: %s", error)
            self._error = error

    def _new_client(self) -> Client:
        from distributed import Client
        from distributed.security import Security

        address, security = self._address, None  # if the cluster uses TLS, Dask's own configuration says so
        if address is None:
            place = self._start_cluster()
            address, certificate, key = place.address, place.certificate, place.key
            security = Security(
                tls_ca_file=certificate, tls_client_cert=certificate, tls_client_key=key, require_encryption=True
            )
        return Client(address, security=security, set_as_default=False, name="rnnviz", timeout=CONNECT_SECONDS)

    def _start_cluster(self) -> Place:
        command = [sys.executable, "-m", "rnnviz.engine.cluster", "--workers", str(self._count)]
        if self._worker_mib:
            command += ["--memory-mib", str(self._worker_mib)]
        root = str(Path(__file__).resolve().parents[2])
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
        self._process = subprocess.Popen(  # noqa: S603  our own module, no input from users
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the app; the cluster ends when the pipe does
        )
        assert self._process.stdout is not None  # noqa: S101  a pipe was asked for
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the embedded cluster ended before it was ready")
        return Place(**json.loads(line))

    @property
    def process_id(self) -> int | None:
        """The process id of the embedded cluster."""
        return self._process.pid if self._process else None

    def close(self) -> None:
        """Disconnect; an embedded cluster ends."""
        self._closed = True
        client, self._client = self._client, None
        if client is not None:
            client.close(timeout=2)
        self._end_process()

    def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is None or process.stdin is None or process.stdout is None:
            return
        process.stdin.close()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def _worker(values: Mapping[str, Any]) -> Worker:
    metrics = values.get("metrics", {})
    states = metrics.get("task_counts", {})
    gpu = values.get("resources", {}).get("GPU", 0) > 0
    return Worker(int(metrics.get("memory", 0)), int(values.get("memory_limit") or 0), sum(states.values()), gpu)
