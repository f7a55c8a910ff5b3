"""The site is built without a complaint and asks nobody for anything; the notebooks run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest

from documents import blocks_of

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import notebooks  # noqa: E402


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(place)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return place


def test_a_page_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) >= 40
    for page in pages:
        loaded = re.findall(
            r'<(?:script|img|iframe|source)[^>]*\bsrc="([^"]*)"|<link[^>]*\bhref="([^"]*)"',
            page.read_text("utf-8"),
        )
        for address in ("".join(pair) for pair in loaded):
            assert not re.match(r"(\w+:)?//", address), (page.name, address)


def test_the_reference_has_every_command_setting_and_name(site: Path) -> None:
    import gpt1
    from gpt1.cli import COMMANDS
    from gpt1.config import RunConfig

    commands = (site / "reference" / "commands.html").read_text("utf-8")
    assert all(f'id="gpt1-{name}"' in commands for name in COMMANDS)
    assert "<code>--class" not in commands
    assert "<code>--prefix" in commands
    settings = (site / "reference" / "settings.html").read_text("utf-8")
    for section, field in RunConfig.model_fields.items():
        for name in field.annotation.model_fields:  # type: ignore[union-attr]
            assert f"{section}.{name}" in settings
    names = (site / "reference" / "python.html").read_text("utf-8")
    for name in set(gpt1.__all__) - {"__version__", "ModelConfig"}:
        assert re.search(rf'id="gpt1\.[\w.]*\b{name}"', names), name


def test_a_bar_in_a_cell_is_shown_without_its_backslash(site: Path) -> None:
    tasks = (site / "tasks.html").read_text("utf-8")
    assert "<code>space|food</code>" in tasks
    commands = (site / "reference" / "commands.html").read_text("utf-8")
    assert "&lt;local|ray&gt;</code></td>" in commands


def test_every_image_has_a_text_in_its_place(site: Path) -> None:
    images = [m for p in site.rglob("*.html") for m in re.findall(r"<img[^>]*>", p.read_text())]
    assert images
    assert all(re.search(r'alt="[^"]+"', image) or "twemoji" in image for image in images)


@pytest.mark.parametrize("page", notebooks.TUTORIALS, ids=lambda page: page.stem)
def test_a_notebook_is_made_from_its_page(page: Path) -> None:
    text = page.with_suffix(".ipynb").read_text("utf-8")
    assert text == notebooks.notebook(page)
    code = [cell.source for cell in nbformat.reads(text, 4).cells if cell.cell_type == "code"]
    kinds = {"sh": "%%sh\n", "csv": "%%writefile ", "python": ""}
    blocks = [block for block in blocks_of(page) if block.kind in kinds]
    for source, block in zip(code, blocks, strict=True):
        assert source.startswith(kinds[block.kind])
        assert source.endswith(block.text.rstrip("\n"))


@pytest.mark.slow
@pytest.mark.parametrize("page", notebooks.TUTORIALS, ids=lambda page: page.stem)
@pytest.mark.timeout(900)
def test_a_notebook_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bin = tmp_path / "bin"  # gpt1 as it is here, not as it is installed
    bin.mkdir()
    (bin / "gpt1").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gpt1 "$@"\n')
    (bin / "gpt1").chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    made = nbformat.read(page.with_suffix(".ipynb"), as_version=4)
    client = nbclient.NotebookClient(
        made, timeout=600, startup_timeout=300, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()
    outputs = [output for cell in made.cells for output in cell.get("outputs", [])]
    assert {"stdout"} <= {output.get("name") for output in outputs}
    assert not any(output.output_type == "error" for output in outputs)
