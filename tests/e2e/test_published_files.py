"""The files beside the source that others' programs read: citation, forms, container, unit."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from gpt1 import __version__
from gpt1.cli import COMMANDS, _app
from gpt1.config import ServeConfig
from gpt1.serving.metrics import Metrics

ROOT = Path(__file__).parents[2]
SERVING = ROOT / "docs" / "serving"
INSTRUCTIONS = {
    *("FROM", "ARG", "COPY", "RUN", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"),
    *("ENV", "LABEL", "WORKDIR", "VOLUME", "STOPSIGNAL", "SHELL"),
}


def project() -> dict[str, Any]:
    content: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    return content["project"]


def check_command(words: list[str]) -> dict[str, Any]:
    """Return the parameters of a `gpt1` command line; fail if `gpt1` would refuse it."""
    program, name, *arguments = words
    assert Path(program).name == "gpt1"
    assert name in COMMANDS
    command = get_command(_app([name])).commands[name]  # type: ignore[attr-defined]
    with command.make_context(name, list(arguments)) as context:
        parameters: dict[str, Any] = context.params
    return parameters


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions and what they say."""
    text = (SERVING / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split()[0], line.split(None, 1)[1]) for line in lines]


def test_the_citation_has_what_its_schema_requires() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert cited["cff-version"] == "1.2.0"
    assert all(cited[name] for name in ("message", "title", "authors"))
    assert str(cited["version"]) == __version__
    assert cited["license"] == project()["license"]
    assert cited["authors"] == project()["authors"]
    paper = cited["preferred-citation"]
    assert paper["year"] == 2018
    assert paper["authors"][0]["family-names"] == "Radford"
    assert {"type", "title", "authors"} <= paper.keys()


def test_the_form_of_a_report_asks_for_what_the_doctor_says() -> None:
    form = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/bug.yml").read_text("utf-8"))
    assert {"name", "description", "body"} <= form.keys()
    fields = [item for item in form["body"] if item["type"] != "markdown"]
    assert all(item["type"] == "textarea" and item["attributes"]["label"] for item in fields)
    assert len({item["id"] for item in fields}) == len(fields)
    assert any("gpt1 doctor" in item["attributes"]["label"] for item in fields)


def test_the_changelog_keeps_its_form() -> None:
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    versions = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert re.fullmatch(r"\d+\.\d+\.\d+ - (unreleased|\d{4}-\d\d-\d\d)", versions[0])
    for version in versions[1:]:
        assert re.fullmatch(r"\d+\.\d+\.\d+ - \d{4}-\d\d-\d\d", version)
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert {*re.findall(r"^### (.*)$", text, re.MULTILINE)} <= kinds


def test_the_container_is_built_from_what_is_there() -> None:
    lines = instructions()
    assert {name for name, _ in lines} <= INSTRUCTIONS
    assert lines[0][0] == "FROM"
    said = dict(lines)
    version = re.fullmatch(r"python:(3\.\d+)-slim", said["FROM"])
    assert version is not None
    assert tuple(map(int, version[1].split("."))) >= (3, 11)
    for source in said["COPY"].split()[:-1]:
        assert (ROOT / source).exists()
    (extras,) = re.findall(r"'/src\[([\w,]+)\]'", said["RUN"])
    assert {*extras.split(",")} <= project()["optional-dependencies"].keys()
    assert said["USER"] == "gpt1"
    assert "useradd --create-home gpt1" in said["RUN"]
    assert [name for name, _ in lines].index("RUN") < [name for name, _ in lines].index("USER")
    assert int(said["EXPOSE"]) == ServeConfig().port
    assert f"127.0.0.1:{said['EXPOSE']}/health/live" in said["HEALTHCHECK"]
    json.loads(said["HEALTHCHECK"].removeprefix("CMD "))
    parameters = check_command([*json.loads(said["ENTRYPOINT"]), *json.loads(said["CMD"])])
    assert parameters["host"] == "0.0.0.0"
    assert parameters["models"] == ["mini"]


def has_docker() -> bool:
    docker = shutil.which("docker")
    return (
        docker is not None
        and subprocess.run([docker, "info"], capture_output=True, timeout=30).returncode == 0
    )


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_container_builds_and_knows_its_command() -> None:
    if not has_docker():
        pytest.skip("without docker")
    build = ["docker", "build", "-q", "-f", SERVING / "Dockerfile", "-t", "gpt1-test", ROOT]
    subprocess.run(build, check=True, timeout=1500)
    done = subprocess.run(
        ["docker", "run", "--rm", "gpt1-test", "--help"], capture_output=True, timeout=60
    )
    assert done.returncode == 0
    assert b"--key-file" in done.stdout


def test_the_unit_starts_a_command_that_gpt1_accepts() -> None:
    text = (SERVING / "gpt1.service").read_text("utf-8")
    (line,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    parameters = check_command(shlex.split(line.replace("%d", "/run/credentials")))
    assert parameters["models"] == ["mini"]
    assert str(parameters["key_file"]) == "/run/credentials/keys"
    assert "DynamicUser=yes" in text


def test_every_metric_of_the_dashboard_is_exported() -> None:
    metrics = Metrics()
    metrics.answered("/v1/completions", 200, 0.1)
    metrics.read("mini", 3)
    metrics.failed("mini")
    metrics.token("mini", 1.0, None, 0.5)
    metrics.token("mini", 1.1, 1.0, 0.5)
    exported = {
        line.split("{")[0].split()[0]
        for line in metrics.text().decode().splitlines()
        if not line.startswith("#")
    }
    board = json.loads((SERVING / "grafana.json").read_text("utf-8"))
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    named = {name for query in queries for name in re.findall(r"gpt1_\w+", query)}
    assert len(named) >= 5
    assert named <= exported
