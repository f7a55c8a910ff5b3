"""The documents do what they say: their code is run and their `output` blocks are compared.

The hub is a loopback one. Its model is a small stand-in with the release's vocabulary that has been
taught the article's sentences by heart, so that ids and texts on the page can be compared as they
are; `text` blocks hold what only the trained weights give and are not compared.
"""

from __future__ import annotations

import ast
import copy
import csv
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

import worlds
from documents import Block, blocks_of, commands_of, files_of
from gpt1.checkpoint import folder
from gpt1.config import ModelConfig
from gpt1.model.transformer import Transformer
from gpt1.tasks.predictor import Predictor
from gpt1.tasks.spec import Example
from gpt1.text.tokenizer import Tokenizer
from hub import LoopbackHub

ROOT = Path(__file__).parents[2]
ENGLISH, PORTUGUESE = ROOT / "docs" / "article.md", ROOT / "docs" / "article.pt.md"
ONNX = ROOT / "docs" / "onnx.md"
SERVING = ROOT / "docs" / "serving.md"  # needs a server; test_serve_command runs it
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
HOW_TO = sorted((ROOT / "docs" / "how-to").glob("*.md"))
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

_HELLO = [3570, 240, 547, 2585, 544, 4957]
BY_HEART = {  # prompt and what the article's model goes on with
    (*_HELLO, 488): (249, 719, 797, 485, 921, 575, 562, 246, 1671, 239, 244, 40477, 244),
    (*_HELLO, 22801): (239, 244, 40477),
    (4778, 271): (599, 587, 512, 1370, 246, 2301, 498, 989, 763, 640, 595, 2132, 498, 481, 1294,
                  257, 246, 2301),
    (547, 2585, 544, 4957, 488): (249, 256, 258, 595, 881, 645, 249, 994, 580, 9306, 522, 595, 239,
                                  244, 40477),
}  # fmt: skip

JOKES = {
    0: "[me narrating a documentary about narrators] \"I can't hear what they're saying cuz I'm"
    ' talking"',
    5: "Why can't Barbie get pregnant? Because Ken comes in a different box. Heyooooooo",
}

RUN = """
import contextlib, io, json, shlex, sys
from gpt1.cli import main

document, blocks = sys.argv[1], json.loads(sys.stdin.read())
names, results = {"__name__": "__main__"}, []
for kind, line, text in blocks:
    out, codes = io.StringIO(), []
    with contextlib.redirect_stdout(out):
        if kind == "python":  # behind empty lines, so that a traceback names the document's line
            exec(compile("\\n" * line + text, document, "exec"), names)
        else:
            for command in text.splitlines():
                sys.argv = shlex.split(command)
                try:
                    main()
                    codes.append(0)
                except SystemExit as exit:
                    codes.append(exit.code or 0)
    results.append((out.getvalue(), codes))
print(json.dumps(results))
"""


@pytest.fixture(scope="module")
def stand_in(release_vocabulary: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face folder of a small model that knows BY_HEART."""
    tokenizer = Tokenizer.load(release_vocabulary)
    config = ModelConfig(
        vocab_size=len(tokenizer), n_embd=32, n_head=2, n_layer=2,
        embd_pdrop=0.1, attn_pdrop=0.1, resid_pdrop=0.1,
    )  # fmt: skip
    model = Transformer(config, generator=torch.Generator().manual_seed(0)).eval()
    ids = torch.zeros(len(BY_HEART), 20, dtype=torch.int64)
    labels = torch.full_like(ids, -100)
    for i, (prompt, rest) in enumerate(BY_HEART.items()):
        row = torch.tensor([*prompt, *rest])
        ids[i, : len(row)] = row
        labels[i, len(prompt) : len(row)] = row[len(prompt) :]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(300):
        output = model(ids, labels=labels)
        output.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if output.loss < 0.05:
            break
    place = tmp_path_factory.mktemp("hub") / "model"
    folder.save(place, model, tokenizer)
    for ours in ("gpt1.json", "manifest.json"):  # the article's repository has neither
        (place / ours).unlink()
    return place


@pytest.fixture(scope="module")
def jokes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The article's data set in its form, with the rows that it shows."""
    place = tmp_path_factory.mktemp("hub") / "jokes"
    place.mkdir()
    with open(place / "shortjokes.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(["ID", "Joke"])
        for i in range(200):
            animal = ("hen", "fox", "cat", "dog", "owl", "ant", "cow")[i % 7]
            made = f"Why did {animal} number {i} cross the road? It couldn't wait for {i + 1}."
            writer.writerow([i + 1, JOKES.get(i, made)])
    return place


@pytest.fixture
def environment(stand_in: Path, jokes: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    with LoopbackHub(
        models={"openai-community/openai-gpt": stand_in},
        datasets={"Maximofn/short-jokes-dataset": jokes},
    ) as hub:
        quiet = {"PYTHONUTF8": "1", "PYTHONWARNINGS": "ignore", "MPLCONFIGDIR": str(tmp_path)}
        yield hub.env(tmp_path / "home") | quiet


def run(
    document: Path,
    blocks: list[Block],
    cwd: Path,
    environment: dict[str, str],
    *,
    seconds: int = 110,
) -> list[tuple[str, list[int]]]:
    """Run blocks in one process and namespace; return what each printed, and its exit codes."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(document)],
        input=json.dumps([(b.kind, b.line, b.text) for b in blocks]),
        env=environment, cwd=cwd, capture_output=True, text=True, timeout=seconds,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-6000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_the_article_prints_what_its_page_says(tmp_path: Path, environment: dict[str, str]) -> None:
    blocks = blocks_of(ENGLISH)
    code = [block for block in blocks if block.kind in ("python", "sh")]
    printed = dict(zip(code, run(ENGLISH, code, tmp_path, environment), strict=True))
    compared = 0
    for before, block in pairwise(blocks):
        if block.kind == "output":
            compared += 1
            assert printed[before][0] == block.text, f"{ENGLISH.name}, line {block.line}"
    assert compared >= 15
    for block in code:
        for command, exit_code in zip(commands_of(block), printed[block][1], strict=True):
            # the stand-in is not the trained model, and verify has to notice
            assert exit_code == (command[1] == "verify"), command
    verdicts = {
        line.split("   ")[0]: line.endswith("pass") for line in printed[code[-1]][0].splitlines()
    }
    known = {"ids of the prompt", "greedy ids, the article", "greedy loop on text"}
    assert {name for name in known if verdicts[name]} == known
    assert not any(verdicts[name] for name in ("parameters", "loss", "logits after id 6"))


def test_the_article_runs_with_mini_where_no_weights_are_at_hand(tmp_path: Path) -> None:
    code = [block for block in blocks_of(ENGLISH) if block.kind == "python"]
    alone = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "empty")}
    printed = [out for out, _ in run(ENGLISH, code, tmp_path, alone)]
    page = ENGLISH.read_text("utf-8")
    rows = dict(
        re.findall(r"^\| (.*?) \|.*\| (.*) \|$", page.split("## The paper")[0], re.MULTILINE)
    )

    def of(code_of_block: str) -> str:
        (out,) = (out for b, out in zip(code, printed, strict=True) if code_of_block in b.text)
        return out

    assert rows["parameters"] in of("Number of parameters")
    assert rows["greedy"].strip("`") in of("max_length=20)\nprint(out.ids)")
    token, probability = rows["the likeliest next token"].split(", ")
    assert of("next_id = torch.max").startswith(probability)
    assert of("next_id = torch.max").endswith(f"'{token.strip('`')}'\n")
    assert 'anda,andi."\\n\\n\\n' in of("def continue_text")
    assert of("labels=ids).loss").strip() == rows["the loss"]
    assert rows["the data set"] in of("read_texts")
    assert "<unk>" in of('item = "JOKE: "')


@pytest.mark.parametrize(
    "page",
    [ENGLISH, *(ROOT / f"docs/tutorials/{name}.md" for name in ("jokes", "classifier"))],
    ids=lambda page: page.stem,
)
def test_both_languages_have_the_same_code_and_the_same_outputs(page: Path) -> None:
    english, portuguese = blocks_of(page), blocks_of(page.with_suffix(".pt.md"))
    assert [block.kind for block in english] == [block.kind for block in portuguese]
    for ours, theirs in zip(english, portuguese, strict=True):
        if ours.kind == "python":  # but for comments
            assert ast.dump(ast.parse(ours.text)) == ast.dump(ast.parse(theirs.text))
        else:
            assert ours.text == theirs.text


def test_the_article_quotes_the_published_values() -> None:
    published: dict[str, Any] = json.loads(
        (ROOT / "src/gpt1/assets/published.json").read_text("utf-8")
    )
    page = ENGLISH.read_text("utf-8")
    hello = published["continuations"][0]
    assert {tuple(hello["ids"]), (*published["ids"], 249)} <= {
        (*prompt, *rest)[:length] for prompt, rest in BY_HEART.items() for length in (8, 20)
    }
    for quoted in (
        str(hello["ids"]),
        repr(hello["text"]),
        repr(published["text_loop"]["text"]),
        f"{published['next']['probability']} {published['next']['id']} 'i'",
        str(published["loss"]["value"]),
        *(
            row + " " + " ".join(f"{logit:9.4f}" for logit in logits)
            for row, logits in published["logits"]["rows"].items()
        ),
    ):
        assert quoted in page, quoted


@pytest.mark.parametrize(
    "document",
    [
        document
        for document in DOCUMENTS
        if document not in (ENGLISH, PORTUGUESE, ONNX, SERVING, *TUTORIALS, *HOW_TO)
        and any(block.kind == "python" for block in blocks_of(document))
    ],
    ids=lambda document: document.name,
)
def test_the_code_of_the_other_documents_runs(
    document: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    run(document, [b for b in blocks_of(document) if b.kind == "python"], tmp_path, environment)


def runnable(document: Path, folder: Path, *shorter: str) -> list[Block]:
    """Write a page's files into a folder; return its code, with `shorter` behind trainings."""
    for name, text in files_of(document).items():
        (folder / name).write_text(text, "utf-8")
    code = []
    for block in blocks_of(document):
        if block.kind == "sh":
            commands = [
                [*command, *shorter] if command[1] in ("finetune", "pretrain") else command
                for command in commands_of(block)
            ]
            code.append(replace(block, text="\n".join(map(shlex.join, commands))))
        elif block.kind == "python":
            code.append(block)
    return code


QUICK = ("deploy", "files", "transformers")


@pytest.mark.parametrize(
    "pages",
    [
        pytest.param([page for page in HOW_TO if page.stem in QUICK], id="quick"),
        pytest.param(
            [page for page in HOW_TO if page.stem not in QUICK],
            id="all others",
            marks=[pytest.mark.slow, pytest.mark.timeout(600)],
        ),
    ],
)
def test_the_how_to_pages_run_as_written(
    pages: list[Path], tmp_path: Path, environment: dict[str, str]
) -> None:
    runnable(ROOT / "docs" / "tutorials" / "classifier.md", tmp_path)  # compare.md uses its files
    code = [block for page in pages for block in runnable(page, tmp_path, "--steps", "2")]
    printed = run(pages[0].parent, code, tmp_path, environment, seconds=500)
    for block, (_, codes) in zip(code, printed, strict=True):
        assert not any(codes), block
    if pages[0].stem in QUICK:
        columns = (tmp_path / "labelled.csv").read_text().splitlines()[0].split(",")
        assert {"No", "Comment", "label"} <= {*columns}
        assert printed[-1][0].strip() == "True"  # transformers' logits


WITHOUT_GPT1 = """
import sys
sys.modules |= {"gpt1": None, "torch": None}  # importing them fails
exec(compile(sys.stdin.read(), sys.argv[1], "exec"))
"""


def test_the_graphs_run_without_gpt1(
    tmp_path: Path, tiny_tokenizer: Tokenizer, environment: dict[str, str]
) -> None:
    words, task = copy.deepcopy(tiny_tokenizer), worlds.TASKS["classification"]
    words = words.with_words("fast")
    tuned = worlds.model(task, words).float()
    folder.save(tmp_path / "runs" / "reviews", tuned, words, {"task": task.to_json()})
    prepare, loop, classify, exact = (b for b in blocks_of(ONNX) if b.kind in ("sh", "python"))
    (_, codes), (ids, _) = run(ONNX, [prepare, exact], tmp_path, environment)
    assert codes == [0, 0]

    def printed(block: Block) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_GPT1, ONNX.name],
            input=block.text, cwd=tmp_path, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    import gpt1

    gpt = gpt1.load("mini", dtype="float32")
    prompts = ["It was a dark and", "The captain"]
    written = gpt.generate(prompts, max_new_tokens=20)
    assert [" ".join(line.split()) for line in printed(loop)] == [
        " ".join(gpt.tokenizer.decode(g.ids, clean_up=False).split()) for g in written
    ]
    texts = ["A warm, funny film.", "Dull, loud and far too long."]
    scores = Predictor(tuned, words, task).probabilities([Example((text,)) for text in texts])
    expected = [
        f"{task.score_names[row.argmax()]} {row.max():.3f} {text}"
        for row, text in zip(scores, texts, strict=True)
    ]
    shown = [line.split(" ", 2) for line in printed(classify)]
    assert [f"{name} {float(p):.3f} {text}" for name, p, text in shown] == expected
    assert json.loads(ids) == gpt.tokenizer.encode("I don't know -- yet...")


def test_the_commands_in_the_documents_exist_with_their_options() -> None:
    from typer.main import get_command

    from gpt1.cli import COMMANDS, _app

    options: dict[str, set[str]] = {}
    for name in COMMANDS:
        command = get_command(_app([name])).commands[name]  # type: ignore[attr-defined]
        options[name] = {
            opt
            for parameter in command.params
            for opt in (*parameter.opts, *parameter.secondary_opts)
        }
    found = 0
    for document in DOCUMENTS:
        for block in blocks_of(document):
            if block.kind not in ("sh", "console", "bash", ""):
                continue
            for _, name, *arguments in commands_of(block):
                found += 1
                where = f"{document.name}, line {block.line}: gpt1 {name}"
                assert name in COMMANDS or name.startswith("-"), where
                for argument in arguments:
                    if argument.startswith("--") and argument != "--help":
                        assert argument.split("=")[0] in options[name], f"{where} {argument}"
    assert found
