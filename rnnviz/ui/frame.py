"""What every page needs: the navigation, the language, the address, the engine, and error messages."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from threading import Lock
from typing import Any

import streamlit as st
from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx
from threadpoolctl import threadpool_limits

from rnnviz.engine.engine import Engine
from rnnviz.engine.settings import APP, Settings
from rnnviz.errors import InputError
from rnnviz.i18n import LANGUAGES, Translate, explain, lesson_part, match_language, translator
from rnnviz.runs.folder import home
from rnnviz.scripts import PAGES_WITHOUT_CHARTS
from rnnviz.ui.charts import preload
from rnnviz.ui.labels import chart_words, setting_labels
from rnnviz.ui.send import send_this

ROOT = Path(__file__).resolve().parents[2]
_STATIC = Path(__file__).resolve().parent / "static"
_FAVICON, _STYLE, _PROJECTED = _STATIC / "favicon.svg", _STATIC / "page.css", _STATIC / "projector.css"
_VIEWS = ("projector", "watch")


@dataclass(frozen=True)
class PageInfo:
    """A page in the navigation: its address, the message id of its title, and its icon."""

    name: str
    title: str
    icon: str


PAGES = (
    PageInfo("home", "Home", ":material/home:"),
    PageInfo("language_model", "Language model", ":material/abc:"),
    PageInfo("sequences", "Sequences", ":material/view_column:"),
    PageInfo("rnn", "RNN", ":material/replay:"),
    PageInfo("train", "Train", ":material/play_circle:"),
    PageInfo("gradients", "Gradients", ":material/trending_down:"),
    PageInfo("gru", "GRU", ":material/tune:"),
    PageInfo("lstm", "LSTM", ":material/memory:"),
    PageInfo("deep", "Deep", ":material/layers:"),
    PageInfo("bidirectional", "Bidirectional", ":material/sync_alt:"),
    PageInfo("reproduce", "Reproduce", ":material/fact_check:"),
    PageInfo("status", "Status", ":material/monitor_heart:"),
)
_HEAD_START = 0.45  # seconds
_prepared = False


@dataclass(frozen=True)
class Frame:
    """The page being drawn: its name, its language, and the functions that depend on it."""

    page: str
    language: str
    translate: Translate

    def lesson(self, part: str) -> str:
        """A part of this page's prose."""
        return lesson_part(self.page, self.language, part)

    def explain(self, error: InputError) -> str:
        """An error message in the reader's language, with settings named as on the page.

        Paths on the server are removed; an exception of a worker may contain some.
        """
        name = error.values.get("name")
        label = setting_labels(self.translate).get(str(name), name)
        message = explain(InputError(error.message, **{**error.values, "name": label}), self.translate)
        message = message.replace(str(home()), "…").replace(str(ROOT), "…")
        return message[:1].upper() + message[1:]


def gone_back() -> bool:
    """Whether the browser's Back or Forward has just led here."""
    context = get_script_run_ctx()
    return context is not None and context.is_history_navigation


def starts_anew(key: str) -> bool:
    """Whether a widget starts at the address's value: it has none yet, or Back or Forward has just led here."""
    return gone_back() or key not in st.session_state


def start_from_address(key: str, options: Sequence[str], default: str) -> None:
    """Before a widget of few options: its value is the visitor's last one, or the address's, or the default.

    Streamlit's own binding would put the translated label into the address; this puts the option.
    """
    if starts_anew(key) or st.session_state[key] not in options:
        asked = st.query_params.get(key)
        st.session_state[key] = asked if asked in options else default


def put_in_address(key: str, default: str) -> str:
    """After a widget: write its value to the address unless it is the default. Returns the value."""
    value = str(st.session_state.get(key) or default)
    if value == default:
        st.query_params.pop(key, None)
    elif st.query_params.get(key) != value:  # each assignment sends a message to the browser
        st.query_params[key] = value
    return value


def _choose_language() -> str:
    """The language picker. It starts at `?lang=`, or at the browser's own language."""
    default = match_language(st.context.locale)
    start_from_address("lang", list(LANGUAGES), default)
    st.sidebar.segmented_control(
        "Language / 语言",
        list(LANGUAGES),
        format_func=LANGUAGES.__getitem__,
        key="lang",
        persist_state="session",
        label_visibility="collapsed",
        required=True,
    )
    return put_in_address("lang", default)


def _read_view() -> list[str]:
    """Take the view from the address, where its words stand with points between them. Returns those of the page."""
    asked = st.query_params.get("view", "").split(".")
    if starts_anew("projector"):
        st.session_state["projector"] = "projector" in asked
    st.session_state["watch"] = watching() or "watch" in asked  # for as long as the tab is open
    return [word for word in asked if word and word not in _VIEWS]


def _choose_view(translate: Translate, others: list[str]) -> None:
    """The projector's switch, and the view in the address on every page: `projector`, `watch`, or `projector.watch`."""
    st.sidebar.toggle(
        translate("Projector view"),
        key="projector",
        persist_state="session",
        help=translate(
            "Everything is larger, and the picture fills the screen. Keys: N next chapter, B the one before, "
            "P plays, F shows one picture alone, Q a code with this page’s address."
        ),
    )
    view = ".".join([*others, *(name for name in _VIEWS if st.session_state[name])])
    if not view:
        st.query_params.pop("view", None)
    elif st.query_params.get("view") != view:
        st.query_params["view"] = view


def projected() -> bool:
    """Whether the page is shown on a wall."""
    return bool(st.session_state.get("projector"))


def watching() -> bool:
    """Whether this visitor only watches: what trains or halts a run is not drawn, so it cannot be pressed."""
    return bool(st.session_state.get("watch"))


def pages() -> tuple[PageInfo, ...]:
    """The pages in the navigation; the status page only if the host has enabled it."""
    return PAGES if settings().status_page else tuple(page for page in PAGES if page.name != "status")


def _pages(translate: Translate, shown: Sequence[PageInfo]) -> list[Any]:
    return [
        st.Page(
            APP / "pages" / f"{page.name}.py",
            title=translate(page.title),
            icon=page.icon,
            url_path="" if page.name == "home" else page.name,
            default=page.name == "home",
        )
        for page in shown
    ]


def navigation() -> Any:
    """Install the pages and return the one that was asked for. `app.py` runs it."""
    global _prepared  # noqa: PLW0603  once a server
    if not _prepared:
        gc.collect()
        gc.freeze()  # imported modules stay, so garbage collection can skip them from now on
        threadpool_limits(1, "blas")  # the other cores train, so a second thread would only wait
        _prepared = True
    if gone_back():
        st.query_params.update()  # once more, since a late answer from the page that was left may have overwritten it
    others = _read_view()
    st.set_page_config("rnnviz", _FAVICON, layout="wide", initial_sidebar_state="collapsed" if projected() else 230)
    language = _choose_language()
    translate = translator(language)
    _choose_view(translate, others)
    try:
        shown = pages()
    except InputError as error:
        st.error(explain(error, translate))
        st.stop()
    page = st.navigation(_pages(translate, shown))
    st.set_page_config(title_of_tab(page))
    st.html(_STYLE)
    if projected():
        st.html(_PROJECTED)
    with st.sidebar:
        preload(language, chart_words(translate), charts=page.url_path not in ("", *PAGES_WITHOUT_CHARTS))
        send_this(translate)
    return page


def title_of_tab(page: Any) -> str:
    """What the browser's tab is called: on the home page by the product's name alone."""
    return f"{page.title} · rnnviz" if page.url_path else "rnnviz"


def open_page(name: str) -> Frame:
    """The first line of every page: its title and its language."""
    language = str(st.session_state.get("lang") or match_language(st.context.locale))
    frame = Frame(name, language, translator(language))
    st.title(heading(name, frame.translate))
    return frame


def introduce(frame: Frame, part: str) -> None:
    """A part of the prose that stands above a picture; on a wall the picture takes its place."""
    with st.container(key=f"above-{part}"):
        st.markdown(frame.lesson(part))


def let_it_be_drawn() -> None:
    """Pause on a visit's first page, because a browser draws a picture later when the rest comes together with it."""
    if not st.session_state.get("drawn"):
        st.session_state["drawn"] = True
        time.sleep(_HEAD_START)


def show_code(frame: Frame, prose: str) -> None:
    """Prose with code, folded. It is sent once it is opened: until then no page loads the highlighter."""
    folded = st.expander(frame.translate("In code"), key="open-code", on_change="rerun")
    if folded.open:
        folded.markdown(prose)


def heading(name: str, translate: Translate) -> str:
    """What stands at the top of a page: its title, and on the home page what all this is."""
    if name == "home":
        return translate("rnnviz: recurrent networks from the inside")
    return translate(next(page.title for page in PAGES if page.name == name))


def link_to_next(page: Any) -> None:
    """The last line of every page: the next one in the order of a lecture."""
    chapters = [info for info in PAGES if info.name != "status"]
    for here, info in pairwise(chapters):
        if (page.url_path or "home") == here.name:
            translate = translator(str(st.session_state["lang"]))
            label = translate("Next: {title}").format(title=translate(info.title))
            st.page_link(f"pages/{info.name}.py", label=label, icon=":material/arrow_forward:", icon_position="right")


@cache
def settings() -> Settings:
    """The host's settings. Raises InputError if one is not allowed."""
    chosen = Settings.from_environment()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("rnnviz").setLevel(chosen.log)
    return chosen


_engine: Engine | None = None  # not in one of Streamlit's caches, which any browser may empty
_engine_lock = Lock()


def engine() -> Engine:
    """The one engine of this server; its cluster starts in the background."""
    global _engine  # noqa: PLW0603  one server, one engine
    with _engine_lock:
        if _engine is None:
            _engine = Engine(settings(), is_present=_is_present)
        return _engine


def close_engine() -> None:
    """End the engine and its cluster, if there is one; the next call of `engine` starts another."""
    global _engine
    with _engine_lock:
        closing, _engine = _engine, None
    if closing is not None:
        closing.close()


def visitor() -> str:
    """The id of the session that asks, as Streamlit names it."""
    context = get_script_run_ctx()
    assert context is not None  # noqa: S101  pages ask, and they run in a session
    return context.session_id


def _is_present(viewer: str) -> bool:
    """Whether a session's tab is still open."""
    return not runtime.exists() or runtime.get_instance().is_active_session(viewer)


def show_error(frame: Frame, error: InputError, place: Any = st) -> None:
    """An error message in the reader's language."""
    place.error(as_text(frame.explain(error)), icon=":material/error:")


def as_text(text: str) -> str:
    """Text escaped for Markdown: what a user wrote must not become a link or a heading."""
    return "".join("\\" + c if c in r"\`*_{}[]()<>#+-.!|~$:" else c for c in text)
