"""The scripts that a browser fetches as files, under names with their hash, so that it can keep them for ever."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

ADDRESS = "app/static"
_OURS = Path(__file__).resolve().parent / "ui" / "static"
_MODULES = (
    "live_charts.js",  # it imports the others
    "chart_cells.js",
    "chart_first_frame.js",
    "chart_slider.js",
    "chart_multiples.js",
    "chart_tools.js",
    "chart_wall.js",
    "chart_window.js",
    "chart_files.js",
    "page.js",
    "lecture.js",
    "visits.js",
)
# None that is seen at once; plotly.js comes with the first.
PAGES_WITHOUT_CHARTS = ("home", "gru", "lstm", "deep", "status")


@dataclass(frozen=True)
class Scripts:
    """The addresses of plotly.js and of the charts' own modules, of which the first imports the others."""

    plotly: str
    modules: tuple[str, ...]


@cache
def served() -> Scripts:
    """Where the scripts are."""
    plotly, *modules = (f"{ADDRESS}/{name}" for name in files())
    return Scripts(plotly, tuple(modules))


@cache
def files() -> Mapping[str, Path]:
    """The file behind each name below ADDRESS: plotly.js, and then the charts' own modules in one folder."""
    plotly = plotly_file()
    modules = [_OURS / name for name in _MODULES]
    folder = f"charts-{_hash(*modules)}"
    return {f"plotly-{_hash(plotly)}.min.js": plotly} | {f"{folder}/{path.name}": path for path in modules}


def plotly_file() -> Path:
    """plotly.js, as Plotly's package has it."""
    spec = find_spec("plotly")
    assert spec is not None  # noqa: S101  it is installed with the app
    assert spec.origin is not None  # noqa: S101  it is a package with files
    return Path(spec.origin).parent / "package_data" / "plotly.min.js"


def head(page: str) -> str:
    """What a page's head says so that a browser loads its scripts while it still loads Streamlit's."""
    scripts = served()
    links = [f'<link rel="modulepreload" href="./{address}">' for address in scripts.modules]
    if page not in PAGES_WITHOUT_CHARTS:
        links.append(f'<link rel="preload" as="script" href="./{scripts.plotly}">')
    return "".join(links)


def _hash(*paths: Path) -> str:
    return sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:12]
