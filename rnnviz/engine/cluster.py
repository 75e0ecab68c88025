"""The embedded Dask cluster, in a process of its own that lives as long as its standard input.

    python -m rnnviz.engine.cluster --workers 2

prints the scheduler's address with a certificate and its key, a line of JSON, then waits. Whoever
started it holds the other end of the pipe: when that process ends in any way, the pipe closes
and the cluster ends with it. There is one worker process per core, with one thread each, on the
loopback address and without a dashboard.

Other accounts of the machine can reach that address as well, and Dask runs whatever it is sent. So
scheduler, workers and clients authenticate each other by TLS with a certificate that is made for this
one cluster and is never in a file that others can read.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import warnings
from dataclasses import asdict, dataclass

# A worker learns which modules to import before its first task: torch alone takes seconds.
PRELOAD = "rnnviz.nn.execution"


@dataclass(frozen=True)
class Place:
    """The address of a cluster, and the certificate and key that give access to it, both in PEM."""

    address: str
    certificate: str
    key: str


def default_workers() -> int:
    """One worker per core that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def main() -> None:
    """Start the cluster, say where it is, and close it when standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m rnnviz.engine.cluster", description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=default_workers())
    parser.add_argument("--memory-mib", type=int, help="of each worker; its share of the machine by default")
    arguments = parser.parse_args()
    if hasattr(os, "nice"):
        os.nice(10)  # pages have priority over training

    import dask
    from distributed import LocalCluster
    from distributed.security import Security

    warnings.filterwarnings("ignore", "Port 8787 is already in use")  # two apps on one machine
    # Without a dashboard Dask still answers HTTP on loopback; with no routes there is nothing to ask.
    dask.config.set({"distributed.scheduler.http.routes": [], "distributed.worker.http.routes": []})
    # The engine counts a run's recoveries, and moves runs where workers are unevenly busy.
    dask.config.set({"distributed.scheduler.allowed-failures": 0, "distributed.scheduler.work-stealing": False})
    # A worker that died comes back, however long that takes on a busy machine; by default it is given up after 15 s.
    dask.config.set({"distributed.deploy.lost-worker-timeout": "1 hour"})
    # A worker over its memory is replaced; none is paused, which would leave its runs waiting for ever.
    memory = {"spill": False, "target": False, "pause": False, "terminate": 0.95}
    dask.config.set({f"distributed.worker.memory.{name}": value for name, value in memory.items()})
    security = Security.temporary()
    with LocalCluster(
        n_workers=arguments.workers,
        threads_per_worker=1,
        memory_limit=f"{arguments.memory_mib}MiB" if arguments.memory_mib else "auto",
        processes=True,
        host="127.0.0.1",
        security=security,
        dashboard_address=None,
        preload=[PRELOAD],
        silence_logs=logging.ERROR,
    ) as cluster:
        place = Place(cluster.scheduler_address, security.tls_client_cert, security.tls_client_key)
        print(json.dumps(asdict(place)), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
