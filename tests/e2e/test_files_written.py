"""A command replaces no file but with --force, or one of its own in its own folder."""

from __future__ import annotations

from pathlib import Path

import pytest

import worlds
from commands import run_gpt1
from gpt1.tasks.kinds import Classification
from gpt1.tasks.predictor import Predictor
from run_logs import make_run, update


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(Path("run"), [update(1, 2.5)])
    make_run(Path("other"), [update(1, 2.0)])
    words, task = worlds.tokenizer(Path("words")), Classification(("no", "yes"))
    Predictor(worlds.model(task, words).float(), words, task).save(Path("run/model"))
    Path("rows.csv").write_text("text,label\nthe dog,no\na cat,yes\n")


@pytest.mark.parametrize(
    ("command", "file"),
    [
        ("predict run rows.csv --out", "it.csv"),
        ("evaluate run rows.csv --page", "it.html"),
        ("compare run other --out", "it.html"),
    ],
)
def test_a_file_is_replaced_only_if_asked_for(command: str, file: str) -> None:
    path = Path(file)
    path.write_bytes(b"mine")
    done = run_gpt1(f"{command} {file}")
    assert (done.code, done.stdout) == (2, "")
    assert f"{file}, which exists. Choose another name, or add --force" in done.stderr
    assert path.read_bytes() == b"mine"
    run_gpt1(f"{command} {file} --force").check()
    written = path.read_bytes()
    assert written != b"mine"
    path.unlink()
    run_gpt1(f"{command} {file}").check()
    assert path.read_bytes() == written
    path.unlink()
    path.symlink_to("nowhere")
    assert "which exists" in run_gpt1(f"{command} {file}").stderr
    path.unlink()
    path.mkdir()
    assert "which is a folder" in run_gpt1(f"{command} {file} --force").stderr


def test_a_page_in_a_run_is_written_anew_but_not_over_one_of_others() -> None:
    page = Path("run/evaluation.html")
    assert "in place of" not in run_gpt1("evaluate run rows.csv").check().stderr
    assert f"{page}, in place of the earlier one" in run_gpt1("evaluate run rows.csv").stderr
    page.write_bytes(b"mine")
    done = run_gpt1("evaluate run rows.csv").check()
    assert f"the page was not written: {page} is not as gpt1 wrote it" in done.stderr
    assert page.read_bytes() == b"mine"
