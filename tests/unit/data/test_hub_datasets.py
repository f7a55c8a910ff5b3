"""`hub:owner/name` through the real client, against a hub on loopback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hub import LoopbackHub

READ = """
import json, sys
import gpt1
try:
    print(json.dumps(gpt1.read_texts(sys.argv[1], column="Joke")))
except gpt1.GPT1Error as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""


@pytest.fixture
def jokes(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / "data").mkdir(parents=True)
    (folder / "README.md").write_text("# Jokes")
    (folder / "data" / "train.csv").write_text('"ID","Joke"\n"1","A ""joke"""\n"2","Two\nlines"\n')
    (folder / "data" / "test.csv").write_text('"ID","Joke"\n"3","held out"\n')
    return folder


def _read(source: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", READ, source], env=env, capture_output=True, text=True, timeout=60
    )


def test_the_articles_data_set_is_read_by_its_name_and_again_without_the_hub(
    jokes: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    with LoopbackHub(datasets={"Maximofn/short-jokes-dataset": jokes}) as hub:
        done = _read("hub:Maximofn/short-jokes-dataset", hub.env(home))
        assert json.loads(done.stdout) == ['A "joke"', "Two\nlines"], done.stderr
        fetched = {path for method, path in hub.requests if method == "GET" and "resolve" in path}
        assert not any(path.endswith("README.md") for path in fetched)

        named = _read("hub:Maximofn/short-jokes-dataset/data/test.csv", hub.env(home))
        assert json.loads(named.stdout) == ["held out"], named.stderr

        count = len(hub.requests)
        offline = _read("hub:Maximofn/short-jokes-dataset", hub.env(home) | {"HF_HUB_OFFLINE": "1"})
        assert offline.stdout == done.stdout, offline.stderr
        assert len(hub.requests) == count, "offline asks nobody"


def test_what_cannot_be_fetched_says_what_to_do(jokes: Path, tmp_path: Path) -> None:
    with LoopbackHub(datasets={"me/jokes": jokes}) as hub:
        env = hub.env(tmp_path / "home")
        missing = _read("hub:me/novels", env)
        offline = _read("hub:me/jokes", env | {"HF_HUB_OFFLINE": "1"})
        unnamed = _read("hub:me/what is this", env)
    gone = _read("hub:me/jokes", env)
    for done, name in ((missing, "novels"), (unnamed, "what is this"), (gone, "jokes")):
        assert done.stderr.startswith(f"HubError: could not fetch the data set me/{name}: ")
    assert "HF_HUB_OFFLINE is set, and it was not fetched before. Unset it" in offline.stderr
    assert {done.returncode for done in (missing, offline, unnamed, gone)} == {1}
