"""The host's page: how busy the workers are, and how much disk space the runs occupy."""

from __future__ import annotations

import streamlit as st

from rnnviz.engine.quota import occupied
from rnnviz.engine.settings import MIB
from rnnviz.i18n import quantity
from rnnviz.ui.frame import Frame, engine, settings
from rnnviz.ui.labels import state_names

_REFRESH_SECONDS = 2


def show_status(frame: Frame) -> None:
    """Show numbers of the whole host, without names of runs; they update by themselves."""
    st.fragment(_status, run_every=_REFRESH_SECONDS)(frame)


def _status(frame: Frame) -> None:
    _ = frame.translate
    workload = engine().workload()
    names = state_names(_)
    for column, state in zip(st.columns(len(names)), names, strict=True):
        column.metric(names[state], f"{workload.runs.get(state, 0):,}")
    if workload.trouble:
        st.error(_("The workers cannot be reached."), icon=":material/error:")
    rows = list(workload.workers.items())
    st.dataframe(
        {
            _("Worker"): [address for address, _worker in rows],
            _("Tasks in its queue"): [worker.tasks for _address, worker in rows],
            _("Memory (MB)"): [round(worker.memory / MIB) for _address, worker in rows],
            _("Memory allowed (MB)"): [round(worker.memory_limit / MIB) for _address, worker in rows],
        },
        hide_index=True,
    )
    limit = settings().limits.disk_mib
    used = quantity(_occupied() / MIB)
    st.caption(
        _("The runs occupy {used} MB of {limit:,} MB.").format(used=used, limit=limit)
        if settings().hosted
        else _("The runs occupy {used} MB.").format(used=used)
    )


@st.cache_data(ttl=10, show_spinner=False)
def _occupied() -> int:
    return occupied()
