"""The distributions: built, installed into an empty environment, and used from an empty folder."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from gpt1 import __version__

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an sdist and the wheel that was built from it, as `make dist` makes them."""
    for name in ("build", "hatchling"):
        pytest.importorskip(name)
    out = tmp_path_factory.mktemp("dist")
    build(out)
    return out


def build(out: Path, *options: str) -> None:
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", out, *options, ROOT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def contents(folder: Path) -> dict[str, int]:
    """Return the files of the only wheel in a folder, name -> checksum."""
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {item.filename: item.CRC for item in archive.infolist()}


def test_the_wheel_holds_the_source_and_nothing_else(built: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "src/gpt1"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    source = {name.removeprefix("src/") for name in listed.stdout.splitlines()}
    held = {name for name in contents(built) if ".dist-info/" not in name}
    assert held == source
    for needed in (
        "gpt1/assets/mini/model.safetensors",
        "gpt1/assets/demo/jokes.csv",
        "gpt1/presets/mini.toml",
        "gpt1/serving/static/index.html",
        "gpt1/reports/page.html",
        "gpt1/py.typed",
    ):
        assert needed in held


def test_the_sdist_builds_the_wheel_that_the_tree_builds(built: Path, tmp_path: Path) -> None:
    build(tmp_path, "--wheel")
    assert contents(built) == contents(tmp_path)
    with tarfile.open(built / f"gpt1-{__version__}.tar.gz") as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"LICENSE", "CHANGELOG.md", "Makefile", "tests/conftest.py", "docs/tour.md"} <= names


def test_the_wheel_works_in_an_empty_environment(built: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh"
    subprocess.run([sys.executable, "-m", "venv", fresh], check=True, timeout=120)
    python, empty = fresh / "bin" / "python", tmp_path / "empty"
    empty.mkdir()
    (wheel,) = built.glob("*.whl")
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    env |= {"HF_HUB_OFFLINE": "1", "XDG_CACHE_HOME": str(tmp_path / "cache")}

    def run(*command: str | Path) -> str:
        done = subprocess.run(
            command, cwd=empty, env=env, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run(python, "-m", "pip", "install", "--no-index", "--no-deps", "--quiet", wheel)
    # what it depends on comes from here: a path file adds no other path file's folders
    (site,) = fresh.glob("lib/*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    gpt1 = fresh / "bin" / "gpt1"
    assert run(gpt1, "--version") == f"gpt1 {__version__}\n"
    assert run(python, "-c", "import gpt1; print(gpt1.__file__)").startswith(str(site))
    text = run(gpt1, "generate", "It was a dark and", "--set", "sampling.max_new_tokens=8")
    assert text.startswith("It was a dark and")
    with subprocess.Popen(
        [gpt1, "demo"], cwd=empty, env=env | {"PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    ) as demo:  # fmt: skip
        assert demo.stdout is not None
        seen = [line for line, _ in zip(demo.stdout, range(7), strict=False)]
        demo.kill()
    written = [line for line in seen if line.startswith("  It was a dark and")]
    assert len(written) == 3, seen
