"""The scripts that a browser fetches as files, under names with their hash, so that it can keep them for ever."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

_OURS = Path(__file__).resolve().parent / "ui" / "static"
_SERVED = Path(__file__).resolve().parent.parent / "static"  # beside app.py, where Streamlit looks for files
_ADDRESS = "app/static"
_MODULES = (
    "live_charts.js",  # it imports the others
    "chart_slider.js",
    "chart_tools.js",
    "chart_window.js",
    "chart_files.js",
    "page.js",
    "visits.js",
)
PAGES_WITHOUT_CHARTS = ("home", "gru", "lstm", "status")  # none that is seen at once; plotly.js comes with the first


@dataclass(frozen=True)
class Scripts:
    """The addresses of plotly.js and of the charts' own modules, of which the first imports the others."""

    plotly: str
    modules: tuple[str, ...]


@cache
def served() -> Scripts:
    """Put the scripts where Streamlit hands out files, if they are not there yet."""
    spec = find_spec("plotly")
    assert spec is not None  # noqa: S101  it is installed with the app
    assert spec.origin is not None  # noqa: S101  it is a package with files
    plotly = (Path(spec.origin).parent / "package_data" / "plotly.min.js").read_bytes()
    modules = {name: (_OURS / name).read_bytes() for name in _MODULES}
    folder = f"charts-{_hash(b''.join(modules.values()))}"
    return Scripts(
        _serve(f"plotly-{_hash(plotly)}.min.js", plotly),
        tuple(_serve(f"{folder}/{name}", source) for name, source in modules.items()),
    )


def head(page: str) -> str:
    """What a page's head says so that a browser loads its scripts while it still loads Streamlit's."""
    scripts = served()
    links = [f'<link rel="modulepreload" href="./{address}">' for address in scripts.modules]
    if page not in PAGES_WITHOUT_CHARTS:
        links.append(f'<link rel="preload" as="script" href="./{scripts.plotly}">')
    return "".join(links)


def _hash(source: bytes) -> str:
    return sha256(source).hexdigest()[:12]


def _serve(name: str, source: bytes) -> str:
    path = _SERVED / name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(source)
    return f"{_ADDRESS}/{name}"
