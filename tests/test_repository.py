"""Promises of the repository: public names, pinned packages, a server set up for a class, and no path out of it."""

from __future__ import annotations

import re
import subprocess
import tomllib
from importlib import import_module
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import rnnviz

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("name", rnnviz.__all__)
def test_every_public_name_exists(name: str) -> None:
    """It is the same object as in the module that defines it, and has its own docstring."""
    thing = getattr(rnnviz, name)
    home = import_module(f"rnnviz.{rnnviz._MODULE_OF[name]}")
    assert thing is getattr(home, name)
    assert isinstance(thing, dict) or thing.__doc__


def test_a_missing_name_is_an_attribute_error() -> None:
    """It is the same as in any module, although names are looked up late."""
    with pytest.raises(AttributeError, match="no attribute 'transformer'"):
        _ = rnnviz.transformer
    assert not hasattr(rnnviz, "transformer")


def test_the_public_names_are_those_in_the_table() -> None:
    """`__all__` and the table of modules agree."""
    assert sorted(rnnviz.__all__) == sorted(rnnviz._MODULE_OF)


def test_the_server_is_set_for_thirty_viewers() -> None:
    """There is no garbage collection after every rerun, and no usage statistics are sent."""
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    assert config["runner"]["postScriptGC"] is False
    assert config["browser"]["gatherUsageStats"] is False


def test_the_server_is_private_by_default() -> None:
    """It answers only this machine, asks nobody for its address, has bounded caches, and exports tables by our code."""
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    assert config["server"]["address"] == "127.0.0.1"
    assert config["server"]["maxCacheDataSize"] == "64mb"
    assert config["logger"]["hideWelcomeMessage"] is True
    assert config["client"]["disableDataExport"] is True


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_requirements_are_pinned(name: str) -> None:
    """There is one exact version per line, the same everywhere that a package can be had."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line.strip() and not line.startswith("#")]
    assert pins
    pin, other = r"[a-z0-9][a-z0-9._-]*==[0-9][0-9a-z.]*", '; sys_platform != "win32"'
    assert [line for line in pins if not re.fullmatch(rf"{pin}({other})?", line)] == []


def locked() -> dict[Requirement, list[str]]:
    """The packages that requirements.lock pins, each with the hashes of its files."""
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").replace("\\\n", "").splitlines()
    entries = [line.split("--hash=") for line in lines if line and not line.lstrip().startswith("#")]
    return {Requirement(entry): [digest.strip() for digest in hashes] for entry, *hashes in entries}


def test_every_package_of_the_app_is_locked() -> None:
    """Each has one version and hashes; after a change to requirements.txt, `make lock` must be run."""
    assert len(locked()) > 60
    for entry, hashes in locked().items():
        assert re.fullmatch(r"==[0-9][0-9a-z.]*", str(entry.specifier)), entry
        assert hashes
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", digest) for digest in hashes), entry
    pins = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    asked = {(r.name, str(r.specifier)) for r in map(Requirement, (pin for pin in pins if not pin.startswith("#")))}
    missing = asked - {(entry.name, str(entry.specifier)) for entry in locked()}
    assert {name for name, _ in missing} == {"torch"}, "run `make lock`"


def test_the_wheel_needs_ranges_that_the_pins_are_in() -> None:
    """It names the packages of requirements.txt, each from a lowest version on, so that a notebook keeps its own."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ranges = {r.name: r.specifier for r in map(Requirement, project["dependencies"])}
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = {r.name: r.specifier for r in map(Requirement, (line for line in lines if not line.startswith("#")))}
    assert ranges.keys() == pins.keys()
    for name, (pin,) in pins.items():
        assert ranges[name].contains(pin.version)
        assert [part.operator for part in ranges[name]] == [">="]


def test_the_cloud_has_the_pinned_torch_for_every_python() -> None:
    """Its requirements are the app's and, for each Python from 3.11 on, the address of one build of that torch."""
    lines = (ROOT / "cloud" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    first, *others = [line for line in lines if not line.startswith("#")]
    assert first == "-r ../requirements.txt"
    (pin,) = re.findall(r"^torch==(\S+)$", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    for minor, line in zip((11, 12, 13, 14), others, strict=True):
        build = Requirement(line)
        name = f"torch-{pin}%2Bcpu-cp3{minor}-cp3{minor}-manylinux_2_28_x86_64.whl"
        assert build.url == f"https://download.pytorch.org/whl/cpu/{name}"
        assert str(build.marker) == f'python_version == "3.{minor}"'


def test_installed_packages_have_the_locked_versions() -> None:
    """Each package of this system has the version in requirements.lock; what torch needs is installed, too."""
    here = [entry for entry in locked() if entry.marker is None or entry.marker.evaluate()]
    wrong = [f"{entry}: {version(entry.name)}" for entry in here if version(entry.name) not in entry.specifier]
    assert wrong == []
    needed = {str(r) for r in map(Requirement, requires("torch") or ()) if r.marker is None}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (torch,) = project["tool"]["uv"]["dependency-metadata"]
    assert needed == set(torch["requires-dist"])


def test_nothing_refers_to_files_outside_the_repository() -> None:
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
