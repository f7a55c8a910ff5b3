"""What CONTRIBUTING.md and .pre-commit-config.yaml say is what make check does."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")


def test_the_layers_are_drawn_as_import_linter_has_them() -> None:
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter")
    layers = contracts["importlinter:contract:layers"]["layers"].split("\n")
    (drawn,) = re.findall(r"^```layers\n(.*?)^```$", CONTRIBUTING, re.DOTALL | re.MULTILINE)
    assert drawn.splitlines() == [layer for layer in layers if layer]
    package = ROOT / "src" / "gpt1"
    ours = [*package.glob("[!_]*.py"), *(path.parent for path in package.glob("*/__init__.py"))]
    assert {path.stem for path in ours} <= set(re.findall(r"\w+", drawn))


def test_every_place_that_is_named_exists() -> None:
    (table,) = re.findall(r"^## Where things go\n(.*)", CONTRIBUTING, re.DOTALL | re.MULTILINE)
    for place in re.findall(r"`([\w/]+(?:\.\w+|/))`", table):
        assert any((root / place).exists() for root in (ROOT, ROOT / "src" / "gpt1")), place


def test_a_commit_is_checked_by_the_commands_of_make_check() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))
    (repository,) = config["repos"]
    assert repository["repo"] == "local"
    makefile = (ROOT / "Makefile").read_text("utf-8")
    (check,) = re.findall(r"^check: .*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    commands = [line.strip().replace("$(BIN)", ".venv/bin") for line in check.splitlines()]
    assert [hook["entry"] for hook in repository["hooks"]] == commands
