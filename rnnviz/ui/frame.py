"""What every page stands in: the navigation, the language, the address, the engine, error messages."""

from __future__ import annotations

import gc
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st
from threadpoolctl import threadpool_limits

from rnnviz.engine import Engine
from rnnviz.errors import InputError
from rnnviz.i18n import LANGUAGES, Translate, explain, lesson_part, match_language, translator
from rnnviz.live import preload
from rnnviz.settings import Settings
from rnnviz.ui.labels import setting_labels

ROOT = Path(__file__).resolve().parents[2]
_FAVICON = Path(__file__).resolve().parents[1] / "static" / "favicon.svg"


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
    PageInfo("status", "Status", ":material/monitor_heart:"),
)
_navigated = False


@dataclass(frozen=True)
class Frame:
    """A page under way: its name, its language, and the functions that depend on it."""

    page: str
    language: str
    translate: Translate

    def lesson(self, part: str) -> str:
        """A part of this page's prose."""
        return lesson_part(self.page, self.language, part)

    def explain(self, error: InputError) -> str:
        """What was wrong, in the reader's language, with settings by the names they have on the page."""
        name = error.values.get("name")
        label = setting_labels(self.translate).get(str(name), name)
        message = explain(InputError(error.message, **{**error.values, "name": label}), self.translate)
        return message[:1].upper() + message[1:]


def start_from_address(key: str, options: Sequence[str], default: str) -> None:
    """Before a widget of few options: its value is the visitor's last one, or the address's, or the default.

    Streamlit's own binding would put the translated label into the address; this puts the option.
    """
    if st.session_state.get(key) not in options:
        asked = st.query_params.get(key)
        st.session_state[key] = asked if asked in options else default


def keep_in_address(key: str, default: str) -> str:
    """After the widget: the address names every value that is not the default. Returns the value."""
    value = str(st.session_state.get(key) or default)
    if value == default:
        st.query_params.pop(key, None)
    elif st.query_params.get(key) != value:  # every writing is a message to the browser
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
    return keep_in_address("lang", default)


def pages() -> tuple[PageInfo, ...]:
    """The pages in the navigation; the host's own only where it is asked for."""
    return PAGES if settings().status_page else tuple(page for page in PAGES if page.name != "status")


def _pages(translate: Translate, shown: Sequence[PageInfo]) -> list[Any]:
    return [
        st.Page(
            ROOT / "pages" / f"{page.name}.py",
            title=translate(page.title),
            icon=page.icon,
            url_path="" if page.name == "home" else page.name,
            default=page.name == "home",
        )
        for page in shown
    ]


def navigation() -> Any:
    """Install the pages and return the one that was asked for. `app.py` runs it."""
    global _navigated  # noqa: PLW0603  one server, one navigation
    if not _navigated:
        gc.collect()
        gc.freeze()  # what was imported stays; collections need not walk through it again
        threadpool_limits(1, "blas")  # the other cores train; a second thread would only wait for one of them
        _navigated = True
    st.set_page_config("rnnviz", _FAVICON, layout="wide", initial_sidebar_state=230)
    translate = translator(_choose_language())
    try:
        shown = pages()
    except InputError as error:
        st.error(explain(error, translate))
        st.stop()
    page = st.navigation(_pages(translate, shown))
    with st.sidebar:
        preload()
    return page


def open_page(name: str) -> Frame:
    """The first line of every page: title, language, and a way in for deep links.

    A fresh server that is first asked for `/train` runs that page without `app.py`, because it
    sees the folder `pages/`. Then the navigation is installed here, and the script run again.
    """
    if not _navigated:
        navigation()
        st.rerun()
    language = str(st.session_state.get("lang") or match_language(st.context.locale))
    frame = Frame(name, language, translator(language))
    st.title(frame.translate(next(page.title for page in PAGES if page.name == name)))
    return frame


@st.cache_resource
def settings() -> Settings:
    """What the host has set. Raises InputError where it is not allowed."""
    chosen = Settings.from_environment()
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("rnnviz").setLevel(chosen.log)
    return chosen


@st.cache_resource(on_release=lambda engine: engine.close())
def engine() -> Engine:
    """The one engine of this server; its cluster starts in the background. `engine.clear()` ends it."""
    return Engine(settings())


@dataclass(frozen=True)
class Visitor:
    """One session in a browser, by a name that only the server knows."""

    name: str
    engine: Engine


@st.cache_resource(scope="session", on_release=lambda visitor: visitor.engine.leave(visitor.name))
def visitor() -> Visitor:
    """This session; when its tab is closed, the engine hears of it."""
    return Visitor(secrets.token_hex(8), engine())


def show_error(frame: Frame, error: InputError) -> None:
    """An error message in the reader's language."""
    st.error(as_text(frame.explain(error)), icon=":material/error:")


def as_text(text: str) -> str:
    """Text that Markdown shows as it is: what a user wrote must not become a link or a heading."""
    return "".join("\\" + c if c in r"\`*_{}[]()<>#+-.!|~$:" else c for c in text)


def offer(key: str, ours: str) -> None:
    """Before a box for text: the address's text or ours, which may change until the visitor types another."""
    offered = f"{key}-offered"
    if key not in st.session_state:
        st.session_state[key] = st.query_params.get(key, ours)
    elif st.session_state[key] == st.session_state.get(offered):
        st.session_state[key] = ours
    st.session_state[offered] = ours


def pick(
    row: Any, label: str, options: Sequence[str], key: str, show: Callable[[str], str], default: str | None = None
) -> Any:
    """One of a few options, side by side, kept in the address."""
    default = default or options[0]
    start_from_address(key, options, default)
    row.segmented_control(label, options, format_func=show, key=key, persist_state="session", required=True)
    return keep_in_address(key, default)


def select(
    place: Any, label: str, names: Mapping[str, str], key: str, default: str, *, named: bool = False, **more: Any
) -> str:
    """One of several options, by their names in the reader's language, kept in the address.

    `named` puts the default there as well, for where it is not the same for all visitors.
    """
    start_from_address(key, list(names), default)
    place.selectbox(label, list(names), format_func=names.__getitem__, key=key, persist_state="session", **more)
    return keep_in_address(key, "" if named else default)


def slide(place: Any, label: str, options: Sequence[str], key: str, show: Callable[[str], str], default: str) -> str:
    """One of many options in their order, on a slider, kept in the address."""
    start_from_address(key, options, default)
    place.select_slider(label, list(options), format_func=show, key=key, persist_state="session")
    return keep_in_address(key, default)
