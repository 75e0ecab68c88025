"""The rooms: which may import which, where the large libraries are allowed, and that each rule can fail."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name

import pytest

from rnnviz.i18n import LANGUAGES

ROOT = Path(__file__).resolve().parent.parent
# The rooms that each room may import. Modules outside all rooms are shared words or entry points.
ROOMS = {
    "text": set[str](),
    "runs": {"text"},
    "analysis": {"text", "runs"},
    "nn": {"text", "runs", "analysis"},
    "figures": {"text", "runs", "analysis"},
    "engine": {"text", "runs", "analysis", "nn"},
    "ui": {"text", "runs", "analysis", "figures", "engine"},
    "chapters": {"text", "runs", "analysis", "figures", "engine", "ui"},
}
WORDS = {"errors", "signals", "cells", "config", "i18n", "scripts"}
# A notebook's process and the command's may import torch.
TORCH_DOORS = {"rnnviz/__init__.py", "rnnviz/__main__.py", "rnnviz/modules.py", "rnnviz/notebook.py"}
DOORS = TORCH_DOORS | {"rnnviz/server.py", "rnnviz/guards.py", "rnnviz/load_test.py", "rnnviz/reproduce.py"}
# Which files may import a library: those at or below one of these paths.
LIBRARIES = {
    "torch": ["rnnviz/nn/"],
    "dask": ["rnnviz/engine/"],
    "distributed": ["rnnviz/engine/"],
    # load_test speaks the protocol of Streamlit's front end, and guards reads it.
    "streamlit": [
        *("rnnviz/ui/", "rnnviz/chapters/", "pages/", "app.py"),
        *("rnnviz/server.py", "rnnviz/guards.py", "rnnviz/load_test.py"),
    ],
    "plotly": ["rnnviz/figures/", "rnnviz/ui/charts.py", "rnnviz/notebook.py"],
    "typer": ["rnnviz/__main__.py"],
    "pickle": [],
}
# Each other one belongs to a chapter.
SHARED_PICTURES = {
    "kit",
    "curves",
    "gates",
    "equations",
    "cell_view",
    "ranking",
    "svg",
    "report",
    "module_trace",
    "references",
}


@dataclass(frozen=True)
class Import:
    """A module that is imported, by its dotted name, and whether the import waits until a function is called."""

    name: str
    lazy: bool


@dataclass(frozen=True)
class Source:
    """A Python file: its path from the root of the tree, its dotted name, its text, and its imports."""

    path: str
    text: str
    imports: tuple[Import, ...]

    @property
    def name(self) -> str:
        return dotted(self.path)

    @property
    def room(self) -> str | None:
        """The room that the file is in, None outside all rooms."""
        parts = self.path.split("/")
        return parts[1] if parts[0] == "rnnviz" and len(parts) > 2 else None


def dotted(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def read_tree(root: Path) -> list[Source]:
    """The files of the app, its pages, the package and the tests."""
    paths = [root / "app.py", *sorted(p for top in ("pages", "rnnviz", "tests") for p in (root / top).rglob("*.py"))]
    texts = {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in paths if path.is_file()}
    modules = set(map(dotted, texts))
    return [Source(path, text, tuple(_imports(ast.parse(text), modules))) for path, text in texts.items()]


def _imports(tree: ast.AST, modules: set[str], lazy: bool = False) -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, lazy) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = "." * node.level + (node.module or "")
            for alias in node.names:
                full = f"{source}.{alias.name}"
                yield Import(full if full in modules else source, lazy)
        else:
            waits = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or (
                isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            )
            yield from _imports(node, modules, lazy or waits)


def _ours(tree: Sequence[Source]) -> list[Source]:
    """All files but the tests, which may import everything."""
    return [source for source in tree if not source.path.startswith("tests/")]


def _room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "rnnviz" and len(parts) > 1 and parts[1] in ROOMS else None


# The rules. Each returns what breaks it.


def rooms_are_known(tree: Sequence[Source]) -> list[str]:
    """Every file of the package is in a room, is a shared word, or is an entry point."""
    loose = DOORS | {f"rnnviz/{word}.py" for word in WORDS}
    ours = [source for source in tree if source.path.startswith("rnnviz/")]
    return [s.path for s in ours if s.room not in ROOMS and s.path not in loose]


def rooms_import_downward(tree: Sequence[Source]) -> list[str]:
    """A room imports only the rooms listed for it; a shared word imports shared words; no page imports nn."""
    broken = []
    for source in _ours(tree):
        for imported in source.imports:
            room, top = _room_of(imported.name), imported.name.split(".")
            if source.room in ROOMS:
                allowed = room in ROOMS[source.room] | {source.room} or (room is None and top[-1] in WORDS)
            elif source.path in {f"rnnviz/{word}.py" for word in WORDS}:
                allowed = room is None and top[-1] in WORDS
            else:
                allowed = room != "nn" or source.path in TORCH_DOORS
            if top[0] == "rnnviz" and not allowed:
                broken.append(f"{source.path} imports {imported.name}")
    return broken


def nn_is_imported_late(tree: Sequence[Source]) -> list[str]:
    """Outside nn, nn is imported only inside functions, so that engine, command and library can do without torch."""
    return [
        f"{source.path} imports {imported.name} as it is imported itself"
        for source in _ours(tree)
        for imported in source.imports
        if source.room != "nn" and _room_of(imported.name) == "nn" and not imported.lazy
    ]


def libraries_stay_in_their_rooms(tree: Sequence[Source]) -> list[str]:
    """torch is imported in nn, Dask in engine, Streamlit in what is shown, and pickle nowhere, even in functions."""
    return [
        f"{source.path} imports {imported.name}"
        for source in _ours(tree)
        for imported in source.imports
        for library, places in LIBRARIES.items()
        if imported.name.split(".")[0] == library and not source.path.startswith(tuple(places))
    ]


def imports_have_no_cycles(tree: Sequence[Source]) -> list[str]:
    """Modules do not import each other in a circle, and so neither do rooms."""
    names = {source.name for source in tree}
    graph = {s.name: {i.name for i in s.imports if i.name in names} - {s.name} for s in tree}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [" imports ".join(reversed(error.args[1]))]
    return []


def imports_name_the_module(tree: Sequence[Source]) -> list[str]:
    """In the package a name is imported from the module that defines it, by its full name, not from an entry point."""
    packages = {source.name for source in tree if source.path.endswith("__init__.py")}
    return [
        f"{source.path} imports from {imported.name}"
        for source in tree
        for imported in source.imports
        if imported.name.startswith(".") or (source.room and imported.name in packages and not _is_door(source))
    ]


def rooms_export_nothing(tree: Sequence[Source]) -> list[str]:
    """A room's `__init__.py` is only a docstring, except in the library, the pages' kit and a chapter's folder."""
    return [
        source.path
        for source in tree
        if source.path.startswith("rnnviz/") and source.path.endswith("__init__.py") and not _is_door(source)
        if len(ast.parse(source.text).body) > 1
    ]


def _is_door(source: Source) -> bool:
    return source.path in {"rnnviz/__init__.py", "rnnviz/ui/__init__.py"} or bool(
        re.fullmatch(r"rnnviz/chapters/\w+/__init__\.py", source.path)
    )


def only_helpers_are_shared_by_tests(tree: Sequence[Source]) -> list[str]:
    """Tests share only what is in conftest.py and helpers.py: they import no other test module."""
    shared = re.compile(r"tests\.browser\.setup\b|tests(\.\w+)?\.helpers\b")
    return [
        f"{source.path} imports {imported.name}"
        for source in tree
        for imported in source.imports
        if imported.name.startswith("tests.") and not shared.match(imported.name)
    ]


RULES = (
    rooms_are_known,
    rooms_import_downward,
    nn_is_imported_late,
    libraries_stay_in_their_rooms,
    imports_have_no_cycles,
    imports_name_the_module,
    rooms_export_nothing,
    only_helpers_are_shared_by_tests,
)
Rule = Callable[[Sequence[Source]], list[str]]


@pytest.fixture(scope="module")
def house() -> list[Source]:
    return read_tree(ROOT)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_its_rules(house: list[Source], rule: Rule) -> None:
    """Every file of the app, the pages and the package was read, and none breaks the rule."""
    assert len(house) > 100
    assert rule(house) == []


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [
        (rooms_are_known, "rnnviz/attic.py", ""),
        (rooms_are_known, "rnnviz/attic/box.py", ""),
        (rooms_import_downward, "rnnviz/text/sampling.py", "from rnnviz.runs.folder import Run"),
        (rooms_import_downward, "rnnviz/figures/kit.py", "def f():\n    from rnnviz.engine import engine"),
        (rooms_import_downward, "rnnviz/nn/layers.py", "import rnnviz.figures.kit"),
        (rooms_import_downward, "rnnviz/ui/frame.py", "from rnnviz.chapters import rnn"),
        (rooms_import_downward, "rnnviz/chapters/rnn.py", "def f():\n    from rnnviz.nn.model import LanguageModel"),
        (rooms_import_downward, "rnnviz/runs/folder.py", "from rnnviz.server import routes"),
        (rooms_import_downward, "rnnviz/config.py", "from rnnviz.text.corpora import split"),
        (rooms_import_downward, "rnnviz/server.py", "def f():\n    from rnnviz.nn import model"),
        (rooms_import_downward, "pages/gradients.py", "from rnnviz.nn import gradients"),
        (nn_is_imported_late, "rnnviz/engine/engine.py", "from rnnviz.nn import execution"),
        (nn_is_imported_late, "rnnviz/__main__.py", "if True:\n    from rnnviz.nn.model import LanguageModel"),
        (libraries_stay_in_their_rooms, "pages/gradients.py", "import torch"),
        (libraries_stay_in_their_rooms, "rnnviz/chapters/gradients.py", "def f():\n    import torch.nn"),
        (libraries_stay_in_their_rooms, "rnnviz/__main__.py", "from torch import nn"),
        (libraries_stay_in_their_rooms, "rnnviz/figures/rnn.py", "import streamlit as st"),
        (libraries_stay_in_their_rooms, "rnnviz/ui/frame.py", "from distributed import Client"),
        (libraries_stay_in_their_rooms, "rnnviz/ui/frame.py", "import plotly"),
        (libraries_stay_in_their_rooms, "rnnviz/nn/model.py", "from pickle import loads"),
        (imports_have_no_cycles, "rnnviz/text/one.py", "from rnnviz.text import two"),
        (imports_name_the_module, "rnnviz/ui/forms.py", "from rnnviz.ui import pick"),
        (imports_name_the_module, "rnnviz/ui/forms.py", "from . import pick"),
        (imports_name_the_module, "rnnviz/chapters/rnn.py", "import rnnviz.ui"),
        (rooms_export_nothing, "rnnviz/nn/__init__.py", '"""All."""\nfrom rnnviz.nn.model import LanguageModel'),
        (only_helpers_are_shared_by_tests, "tests/nn/test_two.py", "from tests.nn.test_one import helper"),
        (only_helpers_are_shared_by_tests, "tests/nn/test_two.py", "from tests.nn.words import helper"),
    ],
)
def test_each_rule_can_fail(tmp_path: Path, rule: Rule, path: str, text: str) -> None:
    """A small package keeps all rules, except for one file that breaks one of them."""
    files = {
        "app.py": "from rnnviz import ui",
        "pages/rnn.py": "from rnnviz import ui\nfrom rnnviz.chapters import rnn",
        "rnnviz/__init__.py": "def f():\n    from rnnviz.nn.model import LanguageModel",
        "rnnviz/errors.py": "",
        "rnnviz/text/two.py": "from rnnviz.errors import InputError\ndef f():\n    from rnnviz.text import one",
        "rnnviz/nn/model.py": "import torch\nfrom rnnviz.text.two import read",
        "rnnviz/engine/engine.py": "def f():\n    from rnnviz.nn import model\n    import dask",
        "rnnviz/ui/__init__.py": "from rnnviz.ui.controls import pick",
        "rnnviz/ui/controls.py": "import streamlit as st",
        "rnnviz/chapters/rnn.py": "from rnnviz.engine.engine import f\nfrom rnnviz.ui.controls import pick",
        "tests/nn/test_one.py": "import torch\nfrom rnnviz.nn import model",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    assert [found for each in RULES for found in each(read_tree(tmp_path))] == []
    broken = tmp_path / path
    broken.parent.mkdir(parents=True, exist_ok=True)
    broken.write_text(text, encoding="utf-8")
    (found,) = rule(read_tree(tmp_path))
    assert path in found or dotted(path) in found


# Names in strings


def _strings(house: Sequence[Source], pattern: str) -> set[str]:
    nodes = [node for source in _ours(house) for node in ast.walk(ast.parse(source.text))]
    texts = {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    return {text for text in texts if re.fullmatch(pattern, text)}


def test_every_function_that_workers_are_asked_for_exists(house: list[Source]) -> None:
    """All strings such as "rnnviz.nn.gradients:study" are such names, and each can be resolved."""
    names = _strings(house, r"rnnviz(\.\w+)+:\w+")
    assert "rnnviz.nn.gradients:study" in names
    assert all(callable(resolve_name(name)) for name in names)


def test_every_module_that_is_named_exists(house: list[Source]) -> None:
    """Commands and preloads name modules, and each can be found."""
    names = _strings(house, r"rnnviz(\.\w+)+") - {"rnnviz.po"}
    assert {"rnnviz.engine.cluster", "rnnviz.nn.execution"} <= names
    assert [name for name in names if find_spec(name) is None] == []


# The cost of imports


@pytest.mark.parametrize(
    ("room", "absent"),
    [
        ("text", ("torch", "streamlit", "distributed", "plotly")),
        ("runs", ("torch", "streamlit", "distributed", "plotly")),
        ("analysis", ("torch", "streamlit", "distributed", "plotly")),
        ("figures", ("torch", "streamlit", "distributed")),
        ("engine", ("torch", "streamlit", "distributed", "plotly")),
        ("ui", ("torch", "distributed")),
        ("chapters", ("torch", "distributed")),
        ("__main__", ("torch", "streamlit", "distributed", "plotly")),
    ],
)
def test_importing_a_room_leaves_these_out(house: list[Source], room: str, absent: tuple[str, ...]) -> None:
    """A fresh process with the library and all modules of a room has none of these, so pages never pay for torch."""
    modules = [source.name for source in house if source.path.startswith(f"rnnviz/{room}")]
    assert modules
    code = f"import sys, rnnviz, {', '.join(modules)}; print([name for name in {absent!r} if name in sys.modules])"
    fresh = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert fresh.stdout == "[]\n"


# Scripts of the browser


def test_no_script_treats_text_as_markup() -> None:
    """Text goes into the page as text, and into a saved page only through `escaped`."""
    scripts = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "rnnviz/ui/static").glob("*.js")}
    markup = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|createContextualFragment|document\.write")
    assert [name for name, text in scripts.items() if markup.search(text)] == []
    filled = re.findall(r"<(?:title|h1|p)>\$\{(\w+)", scripts["chart_files.js"])
    assert filled == ["escaped"] * 3


# Names and packages


def test_a_chapter_has_the_same_name_in_every_room(house: list[Source]) -> None:
    """A chapter's module or folder is named like its page and its lesson, and so are its pictures, if it has any."""
    paths = [source.path for source in house]
    chapters = {re.split(r"[/.]", path)[2] for path in paths if re.match(r"rnnviz/chapters/(?!__init__)", path)}
    assert len(chapters) >= 4
    for chapter in chapters:
        assert f"pages/{chapter}.py" in paths
        assert [lang for lang in LANGUAGES if not (ROOT / f"rnnviz/lessons/{lang}/{chapter}.md").is_file()] == []
    pictures = {re.split(r"[/.]", path)[2] for path in paths if path.startswith("rnnviz/figures/")}
    assert pictures - SHARED_PICTURES <= chapters | {"__init__"}


def test_the_architecture_page_names_every_module(house: list[Source]) -> None:
    """Modules of a chapter are left out, because they have its name."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    chapters = {source.path.split("/")[1].removesuffix(".py") for source in house if source.path.startswith("pages/")}
    parts = [source.path.removesuffix(".py").split("/") for source in house if source.path.startswith("rnnviz/")]
    modules = {path[2] if len(path) > 2 else path[1] for path in parts if path[1] != "chapters"}
    assert [name for name in sorted(modules - chapters - {"__init__"}) if f"`{name}`" not in page] == []


def test_every_package_is_shipped(house: list[Source]) -> None:
    """The wheel holds every room, the data, and the app with its pages."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = {s.name for s in house if s.path.startswith("rnnviz/") and s.path.endswith("__init__.py")}
    others = {"rnnviz.data", "rnnviz.app", "rnnviz.app.pages"}
    assert set(project["tool"]["setuptools"]["packages"]) == packages | others
    assert {s.path.rpartition("/")[0].replace("/", ".") for s in house if s.path.startswith("rnnviz/")} == packages
