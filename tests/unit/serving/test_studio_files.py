"""The studio's files by themselves: no markup from text, nothing inline, nothing from elsewhere."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest

STATIC = Path(str(resources.files("gpt1"))) / "serving" / "static"
FILES = sorted(path for path in STATIC.rglob("*") if path.is_file())
FORBIDDEN = {
    "markup from text": r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|srcdoc",
    "code from text": r"\beval\(|new Function|setTimeout\(\s*[\"'`]|javascript:",
    "an inline style or handler": r"\sstyle=|<style|\son[a-z]+=|setAttribute\(\s*[\"']style",
    "another origin": r"https?://(?!www\.w3\.org/2000/svg)|[\"'(]//[a-z]|@import",
}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_no_file_has(name: str) -> None:
    assert FILES
    found = [
        f"{path.name}: {match.group()}"
        for path in FILES
        for match in re.finditer(FORBIDDEN[name], path.read_text("utf-8"))
    ]
    assert found == []


def test_files_are_short_and_every_import_exists() -> None:
    for path in FILES:
        text = path.read_text("utf-8")
        assert len(text.splitlines()) <= 350, path.name
        for target in re.findall(r"from \"(\..+?)\"", text):
            assert (path.parent / target).is_file(), (path.name, target)


def test_index_holds_no_script_of_its_own() -> None:
    page = (STATIC / "index.html").read_text("utf-8")
    assert re.findall(r"<script[^>]*>([^<]*)</script>", page) == [""]
