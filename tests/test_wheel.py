"""The wheel is built from this folder and installed where nobody may write, beside the packages of this environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.slow
# The place of each folder in the wheel.
SHIPPED = {
    "data": "rnnviz/data",
    "rnnviz": "rnnviz",
    "pages": "rnnviz/app/pages",
    ".streamlit": "rnnviz/app/.streamlit",
}
MODEL = "--corpus sums --max-chars 300 --hidden-size 4 --batch-size 4 --num-steps 10 --epochs 2 --device cpu"
ASKED = """
import rnnviz
from rnnviz.i18n import lesson_part, translator
from rnnviz.runs.folder import Run
from rnnviz.text.corpora import DATA, read
print(rnnviz.__file__)
assert translator("zh")("Home") == "首页"
assert lesson_part("gru", "zh", "idea")
assert len(read("tales-en")) > 10_000
assert Run.open(DATA / "example-en").recording() is not None
"""


def run(folder: Path, *command: str, **environment: str) -> str:
    """The output of a command, which has to succeed."""
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder into which the wheel is installed; it is built from a copy, so that no earlier build gets in.

    Nothing in it can be written, which root would not notice, so a change of its files is noticed at the end.
    """
    source, site = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for folder in SHIPPED:
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "app.py"):
        shutil.copy(ROOT / file, source)
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(source, *pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", "dist", ".")
    (wheel,) = (source / "dist").glob("*.whl")
    run(source, *pip, "install", "--no-deps", "--no-index", "--target", str(site), str(wheel))
    run(site, "chmod", "-R", "a-w", ".")
    files = contents(site)
    yield site
    assert contents(site) == files
    run(site, "chmod", "-R", "u+w", ".")  # so that pytest can remove it


def contents(folder: Path) -> dict[Path, int]:
    """The files of a folder and when they were changed, without what Python keeps of what it has compiled."""
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path: path.stat().st_mtime_ns for path in files}


def test_every_file_of_the_packages_is_in_the_wheel(installed: Path) -> None:
    """These include translations, lessons, the browser's scripts and the shipped runs."""
    for folder, place in SHIPPED.items():
        files = {p.relative_to(ROOT / folder) for p in (ROOT / folder).rglob("*") if p.is_file()}
        there = {p.relative_to(installed / place) for p in (installed / place).rglob("*") if p.is_file()}
        assert sorted(f for f in files - there if "__pycache__" not in f.parts) == []


def test_the_installed_library_and_command_work_anywhere(installed: Path, tmp_path: Path) -> None:
    """Both languages and the shipped texts and runs are found, and a network is trained."""
    path = {"PYTHONPATH": str(installed)}
    (place,) = run(tmp_path, sys.executable, "-c", ASKED, **path).splitlines()
    assert Path(place).is_relative_to(installed)
    command = str(installed / "bin" / "rnnviz")
    assert "train" in run(tmp_path, command, "--help", **path)
    run(tmp_path, command, "train", *MODEL.split(), "--out", "run", **path)
    assert (tmp_path / "run" / "reports.jsonl").stat().st_size > 0
