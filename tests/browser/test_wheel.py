"""The wheel is built from this folder and installed in a fresh environment, into which nobody may write.

The environment is not quite fresh: all packages but ours are lent by the one that runs the tests, through the file
others.pth in its site-packages, so that nothing is downloaded. What pip would install beside the wheel is not tested.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.helpers import SMALL, Server, arrived, chart, curve, go, train, wait_until
from tests.helpers import listens_at

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
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


def run(folder: Path, *command: str | Path) -> str:
    """The output of a command, which has to succeed."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A fresh environment with the wheel, to which others.pth lends the site-packages of this one.

    The wheel is built from a copy, so that no earlier build gets in. Root may write everywhere, so a
    change of the installed files is looked for at the end.
    """
    source, fresh = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("fresh")
    for folder in SHIPPED:
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "app.py"):
        shutil.copy(ROOT / file, source)
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(source, *pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", "dist", ".")
    (wheel,) = (source / "dist").glob("*.whl")
    run(fresh, sys.executable, "-m", "venv", "--without-pip", ".")
    run(source, *pip, "--python", python_of(fresh), "install", "--no-deps", "--no-index", wheel)
    site = site_of(fresh)
    # What this environment has, without its own link to the repository, which is a file of the same kind.
    (site / "others.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    run(fresh, "chmod", "-R", "a-w", ".")
    before = contents(site)
    yield fresh
    assert contents(site) == before
    run(fresh, "chmod", "-R", "u+w", ".")  # so that pytest can remove it


def python_of(environment: Path) -> Path:
    return environment / "bin" / "python"


def site_of(environment: Path) -> Path:
    (site,) = environment.glob("lib/python*/site-packages")
    return site


def contents(folder: Path) -> dict[Path, int]:
    """The files of a folder and when they were changed, without what Python keeps of what it has compiled."""
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path: path.stat().st_mtime_ns for path in files}


def test_every_file_of_the_packages_is_in_the_wheel(environment: Path) -> None:
    """These include translations, lessons, the browser's scripts, the pages and the shipped runs."""
    site = site_of(environment)
    for folder, place in SHIPPED.items():
        files = {p.relative_to(ROOT / folder) for p in (ROOT / folder).rglob("*") if p.is_file()}
        there = {p.relative_to(site / place) for p in (site / place).rglob("*") if p.is_file()}
        assert sorted(f for f in files - there if "__pycache__" not in f.parts) == []


def test_the_installed_library_and_command_work_anywhere(environment: Path, tmp_path: Path) -> None:
    """Both languages and the shipped texts and runs are found, and a network is trained."""
    (place,) = run(tmp_path, python_of(environment), "-c", ASKED).splitlines()
    assert Path(place).is_relative_to(environment)
    command = environment / "bin" / "rnnviz"
    assert "app" in run(tmp_path, command, "--help")
    run(tmp_path, command, "train", *MODEL.split(), "--out", "run")
    assert (tmp_path / "run" / "reports.jsonl").stat().st_size > 0


def test_the_installed_load_command_reports_what_visitors_experience(environment: Path, tmp_path: Path) -> None:
    """It loads the installed app so little that nothing is lost, every viewer is served and runs go on."""
    options = "--viewers 3 --runs 2 --seconds 5 --workers 1 --json"
    outcome = json.loads(run(tmp_path, environment / "bin" / "rnnviz", "load", *options.split()))
    assert outcome["lost"] == 0
    assert outcome["updates_per_viewer_and_second"] > 0.2
    assert outcome["interactions"] > 0
    assert 0 < outcome["latency_p50"] <= outcome["latency_p95"]
    assert outcome["speed"] > 0
    assert len(outcome["shares"]) == 2
    assert {"page"} < set(outcome["memory"])


def test_the_installed_app_listens_everywhere_if_it_is_told_to(
    environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless it is told, it listens for this machine alone; the browser's test checks that."""
    monkeypatch.setenv("RNNVIZ_HOME", str(tmp_path))
    command = [str(environment / "bin" / "rnnviz"), "app", "--address", "0.0.0.0", "--no-browser"]  # noqa: S104
    with (tmp_path / "log").open("w") as log, subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log) as app:
        try:
            wait_until(lambda: listens_at(app.pid) != set())
            assert listens_at(app.pid) == {"0.0.0.0"}  # noqa: S104
        finally:
            app.terminate()


@pytest.fixture
def server(environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """`rnnviz app` of the fresh environment."""
    monkeypatch.setattr(sys, "executable", str(python_of(environment)))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    running = Server(tmp_path)
    try:
        yield running
    finally:
        running.close()


def test_the_installed_app_trains_a_model(server: Server, page: Page) -> None:
    """It shows its shipped model, and then the curves of a run that its own workers train, to this machine alone.

    The page comes after the server, so that it is closed before: otherwise it reports that the server is gone.
    """
    assert listens_at(server.process.pid) == {"127.0.0.1"}
    page.goto(f"{server.url}/train?epochs=4&{SMALL}")
    arrived(page, "Train")
    expect(chart(page, "perplexity").locator("svg").first).to_be_visible(timeout=60_000)
    train(page)
    wait_until(lambda: len(curve(page, "perplexity", "training")) == 4)
    go(page, "Home")
    expect(page.locator(".cv-chip").first).to_be_visible(timeout=60_000)
