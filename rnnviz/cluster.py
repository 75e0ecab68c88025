"""The embedded Dask cluster, in a process of its own that lives as long as its standard input.

    python -m rnnviz.cluster --workers 2

prints the scheduler's address, then waits. Whoever started it holds the other end of the pipe:
when that process ends, however it ends, the pipe closes and the cluster goes with it. One worker
process a core, one thread each, on the loopback address, without a dashboard.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings

# A worker learns which modules to import before its first task: torch alone takes seconds.
PRELOAD = "rnnviz.execution"


def default_workers() -> int:
    """One worker per core that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def main() -> None:
    """Start the cluster, say where it is, and close it when standard input ends."""
    parser = argparse.ArgumentParser(prog="python -m rnnviz.cluster", description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=default_workers())
    parser.add_argument("--memory-mib", type=int, help="of each worker; its share of the machine by default")
    arguments = parser.parse_args()
    if hasattr(os, "nice"):
        os.nice(10)  # pages answer first; training takes what they leave

    import dask
    from distributed import LocalCluster

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
    with LocalCluster(
        n_workers=arguments.workers,
        threads_per_worker=1,
        memory_limit=f"{arguments.memory_mib}MiB" if arguments.memory_mib else "auto",
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
        preload=[PRELOAD],
        silence_logs=logging.ERROR,
    ) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
