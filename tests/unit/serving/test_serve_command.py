"""`gpt1 serve` as a process: it says where it listens, drains on SIGTERM, and ends on a second."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import serving
import worlds
from commands import ENV, GPT1, run_gpt1
from gpt1.serving.models import Served


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return worlds.write_model(tmp_path_factory.mktemp("served"))


@pytest.fixture
def process(model: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [*GPT1, "serve", f"small={model}", "--port", "0", "--set", "serve.slots=2"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV
    ) as process:
        assert process.stdout
        line = process.stdout.readline()
        found = re.fullmatch(r"gpt1 serves small at (http://127\.0\.0\.1:\d+)\n", line)
        assert found, line + (process.stderr.read() if process.stderr else "")
        yield process, found[1]
        process.kill()


def body(max_tokens: int) -> dict[str, object]:
    return {
        "prompt": "the dog", "max_tokens": max_tokens, "temperature": 0, "overflow": "slide",
        "stream": True,
    }  # fmt: skip


def test_a_stream_outlives_sigterm_and_the_exit_is_0(
    process: tuple[subprocess.Popen[str], str],
) -> None:
    server, url = process
    with httpx.stream("POST", f"{url}/v1/completions", json=body(300), timeout=60) as answer:
        lines = answer.iter_lines()
        first = next(lines)
        server.send_signal(signal.SIGTERM)
        rest = [line for line in lines if line]
    assert rest[-1] == "data: [DONE]"
    texts = [json.loads(line[6:])["choices"][0] for line in (first, *rest[:-1])]
    assert texts[-1]["finish_reason"] == "length"
    assert server.wait(30) == 0
    assert server.stderr
    assert server.stderr.read() == ""


def test_the_example_of_the_document_runs(
    process: tuple[subprocess.Popen[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    document = (Path(__file__).parents[3] / "docs/serving.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    assert "http://127.0.0.1:8000" in code
    code = code.replace("http://127.0.0.1:8000", process[1]).replace('"mini"', '"small"')
    exec(compile(code, "serving.md", "exec"), {})
    assert capsys.readouterr().out


def test_a_second_signal_ends_it_at_once(process: tuple[subprocess.Popen[str], str]) -> None:
    server, url = process
    with httpx.stream("POST", f"{url}/v1/completions", json=body(4000), timeout=60) as answer:
        lines = answer.iter_lines()
        next(lines)
        server.send_signal(signal.SIGTERM)
        while httpx.get(f"{url}/health/ready").status_code == 200:
            pass
        server.send_signal(signal.SIGTERM)
        assert server.wait(5) == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--host 0.0.0.0", "needs a key"),
        ("--key-file missing", "the key file missing cannot be read"),
        ("--set serve.slot=3", "Did you mean 'slots'"),
        ("--set sampling.top_k=3", "only has serve"),
        ("--queue 0", "serve.queue is 0; it should be greater than or equal to 1"),
        ("--port 70000", "serve.port is 70000"),
        ("a=mini b=mini a=mini", "two models are called 'a'"),
        ("nothing", "there is no such folder"),
    ],
    ids=range(8),
)
def test_a_wrong_call_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: str, arguments: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GPT1_API_KEYS", raising=False)
    done = run_gpt1(f"serve {arguments.replace('mini', model)}")
    assert done.code in (1, 2)
    assert said in done.message


def test_without_the_extra_one_line_says_what_to_install() -> None:
    script = "import sys; sys.modules['fastapi'] = None; import gpt1.cli; gpt1.cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "serve"],
        capture_output=True, text=True, env={**os.environ, **ENV},
    )  # fmt: skip
    assert done.returncode == 2
    assert "pip install 'gpt1[serve]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_client_of_the_how_to_page_works_as_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = (Path(__file__).parents[3] / "docs/how-to/deploy.md").read_text("utf-8")
    (found,) = re.findall(r"^    from openai.*?(?=^\S)", page, re.MULTILINE | re.DOTALL)
    code = textwrap.dedent(found)
    assert "http://127.0.0.1:8000/v1" in code
    with serving.running([Served.of("mini", serving.gpt(), slots=2)]) as server:
        exec(compile(code.replace("http://127.0.0.1:8000", server.base_url), "page", "exec"), {})
    assert capsys.readouterr().out.strip()
