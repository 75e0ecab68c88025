"""How the house is built: who may import whom, and what stays out of which process."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

import rnnviz

ROOT = Path(__file__).resolve().parent.parent
# From the ground up; each module may import those before it.
ORDER = (
    "errors",
    "signals",
    "config",
    "text",
    "reports",
    "sampling",
    "ngram",
    "recording",
    "reading",
    "gradient_study",
    "experiments",
    "unrolled",
    "runs",
    "settings",
    "keeping",
    "cells",
    "fused",
    "layers",
    "model",
    "generation",
    "probes",
    "training",
    "execution",
    "carrying",
    "gradients",
    "bench",
    "cluster",
    "connection",
    "engine",
    "i18n",
    "following",
    "figures",
    "ngram_figures",
    "sequence_figures",
    "rnn_figures",
    "equations",
    "unrolled_figures",
    "gradient_figures",
    "load",
    "__main__",
    "live",
    "ui.labels",
    "ui.frame",
    "ui.runs",
    "ui.status",
    "ui.forms",
    "ui.parts",
    "ui.ngrams",
    "ui.sequences",
    "ui.equation",
    "ui.reading",
    "ui.rnn",
    "ui.gradients.unrolled",
    "ui.gradients.three",
    "ui.gradients.clipping",
    "ui.gradients.learning_map",
    "ui.gradients",
    "ui",
    "server",
)
PACKAGE = sorted((ROOT / "rnnviz").rglob("*.py"))
PAGES = [ROOT / "app.py", *sorted((ROOT / "pages").glob("*.py"))]


@cache
def imports(path: Path) -> tuple[str, ...]:
    """Every module that a file imports, at the top or inside a function, by its dotted name."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}:{node.lineno}: a relative import"
            assert node.module is not None
            if node.module == "rnnviz":
                yield from (f"rnnviz.{alias.name}" for alias in node.names)
            else:
                yield node.module


def module_name(path: Path) -> str:
    """A file's dotted name below rnnviz; of a package's `__init__.py` the package's."""
    parts = path.relative_to(ROOT / "rnnviz").with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def imports_of_package(path: Path, package: str) -> list[str]:
    return [name for name in imports(path) if name == package or name.startswith(f"{package}.")]


def test_every_module_has_its_place() -> None:
    """A new module has to be put into the order first."""
    assert sorted({module_name(path) for path in PACKAGE} - {""}) == sorted(ORDER)


@pytest.mark.parametrize("name", ORDER)
def test_imports_run_downward(name: str) -> None:
    """A module imports what stands below it, from the module itself and not through the package's door."""
    below = {f"rnnviz.{module}" for module in ORDER[: ORDER.index(name)]}
    path = next(path for path in PACKAGE if module_name(path) == name)
    imported = set(imports_of_package(path, "rnnviz"))
    assert imported <= below, f"{name} imports {', '.join(sorted(imported - below))}"


def test_only_the_pages_know_streamlit() -> None:
    """ui/, live.py, server.py, app.py and the pages; all else is a library without it."""
    know = {module_name(path) for path in PACKAGE if imports_of_package(path, "streamlit")}
    assert {"ui.frame", "live"} <= know
    # load.py speaks the protocol of Streamlit's front end; it shows nothing
    assert {name.split(".")[0] for name in know} == {"ui", "live", "server", "load"}


@pytest.mark.parametrize(
    ("package", "allowed"),
    [
        ("distributed", {"cluster", "connection", "engine"}),
        ("dask", {"cluster", "engine"}),
        (
            "torch",
            {
                "cells",
                "fused",
                "layers",
                "model",
                "generation",
                "probes",
                "training",
                "execution",
                "carrying",
                "gradients",
                "bench",
                "__main__",
            },
        ),
        (
            "plotly",
            {
                "figures",
                "ngram_figures",
                "sequence_figures",
                "rnn_figures",
                "gradient_figures",
                "unrolled_figures",
                "live",
            },
        ),
        ("typer", {"__main__"}),
        ("pickle", set()),
    ],
)
def test_large_packages_stay_where_they_belong(package: str, allowed: set[str]) -> None:
    """Dask below the engine, torch below the workers' functions, no pickle anywhere."""
    know = {path.stem for path in [*PACKAGE, *PAGES] if imports_of_package(path, package)}
    assert know <= allowed


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("rnnviz", ("torch", "streamlit", "distributed", "plotly")),
        ("rnnviz.engine", ("torch", "streamlit")),
        ("rnnviz.figures", ("torch", "streamlit", "distributed")),
        ("rnnviz.sequence_figures", ("torch", "streamlit", "distributed")),
        ("rnnviz.following", ("torch", "streamlit", "distributed")),
        ("rnnviz.__main__", ("torch", "streamlit", "distributed", "plotly")),
        ("rnnviz.ui", ("torch",)),
    ],
)
def test_importing_a_module_leaves_these_out(module: str, absent: tuple[str, ...]) -> None:
    """A fresh process that imports it has none of these packages in memory: pages never pay for torch."""
    code = f"import sys, {module}; print([name for name in {absent!r} if name in sys.modules])"
    fresh = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert fresh.stdout == "[]\n"


@pytest.mark.parametrize("name", rnnviz.__all__)
def test_every_public_name_is_there(name: str) -> None:
    """And is the very object of the module that makes it, with a docstring of its own."""
    thing = getattr(rnnviz, name)
    home = import_module(f"rnnviz.{rnnviz._MODULE_OF[name]}")
    assert thing is getattr(home, name)
    assert isinstance(thing, dict) or thing.__doc__


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    """As with any module; the lazy door changes nothing about it."""
    with pytest.raises(AttributeError, match="no attribute 'transformer'"):
        _ = rnnviz.transformer
    assert not hasattr(rnnviz, "transformer")


def test_the_public_names_are_those_with_a_home() -> None:
    """`__all__` and the table of homes agree."""
    assert sorted(rnnviz.__all__) == sorted(rnnviz._MODULE_OF)


def test_the_server_is_set_for_thirty_viewers() -> None:
    """No garbage collection after every rerun, and nothing is sent home."""
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    assert config["runner"]["postScriptGC"] is False
    assert config["browser"]["gatherUsageStats"] is False


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_requirements_are_pinned(name: str) -> None:
    """One exact version a line, the same everywhere that a package can be had."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line.strip() and not line.startswith("#")]
    assert pins
    pin, other = r"[a-z0-9][a-z0-9._-]*==[0-9][0-9a-z.]*", '; sys_platform != "win32"'
    assert [line for line in pins if not re.fullmatch(rf"{pin}({other})?", line)] == []


def test_nothing_points_out_of_the_repository() -> None:
    """A clone has no folder beside it."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    outside = "/".join(("..", "shared"))
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert len(paths) > 20
    texts = {path: path.read_text(encoding="utf-8", errors="ignore") for path in paths if path.is_file()}
    assert [str(path) for path, text in texts.items() if outside in text] == []
