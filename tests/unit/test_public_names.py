"""What the package promises by name: its public names, its commands, and how fast they answer."""

from __future__ import annotations

import ast
import inspect
import os
import re
import statistics
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import gpt1
from commands import run_gpt1_process
from gpt1.cli import COMMANDS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
NAMES = sorted(gpt1.__all__)


def word(command: str) -> str:
    return command.replace("-", "_")


def python(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )


def test_the_reference_lists_the_public_names() -> None:
    page = (ROOT / "docs" / "reference" / "python.md").read_text("utf-8")
    listed = re.findall(r"^::: gpt1\.[\w.]+\.(\w+)$|^ +- (\w+)$|^`(\w+)` ", page, re.MULTILINE)
    assert sorted({"".join(name) for name in listed} - {"Estimator"}) == NAMES
    assert len(gpt1.__all__) == len(set(gpt1.__all__))
    assert dir(gpt1) == NAMES


def test_type_checkers_see_the_same_public_names() -> None:
    tree = ast.parse(Path(gpt1.__file__).read_text("utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    imported = {
        alias.asname: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported == gpt1._MODULES


@pytest.mark.parametrize("name", NAMES)
def test_every_public_name_is_there_with_a_docstring_of_its_own(name: str) -> None:
    value = getattr(gpt1, name)
    if name == "__version__":
        assert re.fullmatch(r"\d+\.\d+\.\d+", value)
        return
    assert vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    if inspect.isclass(value):
        own = {n: m for n, m in vars(value).items() if n[0] != "_" and inspect.isfunction(m)}
        assert all(method.__doc__ for method in own.values()), own


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'loads'"):
        gpt1.loads  # noqa: B018


def test_the_package_imports_no_heavy_library() -> None:
    done = python(
        "import sys, gpt1\n"
        "print(gpt1.__version__)\n"
        "heavy = {'torch', 'spacy', 'ftfy', 'numpy', 'pydantic', 'rich', 'typer', 'tokenizers',\n"
        "         'huggingface_hub', 'matplotlib', 'safetensors', 'sklearn'}\n"
        "assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{gpt1.__version__}\n"


def test_no_help_imports_a_heavy_library() -> None:
    done = python(
        "import sys\n"
        "from gpt1.cli import COMMANDS, main\n"
        "for command in ([], *([name] for name in COMMANDS)):\n"
        "    sys.argv = ['gpt1', *command, '--help']\n"
        "    try:\n        main()\n"
        "    except SystemExit as end:\n        assert not end.code\n"
        "    heavy = {'torch', 'spacy', 'ftfy', 'huggingface_hub', 'matplotlib', 'pyarrow'}\n"
        "    assert not heavy & sys.modules.keys(), (command, heavy & sys.modules.keys())"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("Usage: ") == len(COMMANDS) + 1


def test_help_answers_at_once() -> None:
    """In processor time, which other programs on the machine hardly change."""
    times = []
    for _ in range(5):
        before = os.times()
        assert run_gpt1_process("--help").code == 0
        after = os.times()
        times.append(sum(after[2:4]) - sum(before[2:4]))  # of children, user and system
    print(f"gpt1 --help: median {statistics.median(times):.2f} s, best {min(times):.2f} s")
    assert min(times) <= 0.45  # 0.3 on a machine that does nothing else


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_file_and_a_docstring(command: str) -> None:
    function = getattr(import_module(f"gpt1.cli.{word(command)}"), word(command))
    assert inspect.getdoc(function)
    assert (import_module(f"gpt1.cli.{word(command)}").__doc__ or "").startswith(f"gpt1 {command}:")


def test_every_file_of_a_command_is_in_the_table() -> None:
    files = {path.stem for path in (ROOT / "src/gpt1/cli").glob("*.py")}
    files -= {"__init__", "options", "progress", "task_files", "units"}
    assert files == {word(command) for command in COMMANDS}


def test_the_changelog_begins_with_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert re.findall(r"^## (\S+)", changelog, re.MULTILINE)[0] == gpt1.__version__


@pytest.mark.parametrize("given", [None, "active"])
def test_waiting_threads_sleep_unless_the_user_says_otherwise(given: str | None) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    if given is not None:
        environment["OMP_WAIT_POLICY"] = given
    script = "import gpt1, os, sys; print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == [given or "passive", "False"]
