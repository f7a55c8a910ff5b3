"""Bad input, from the command line: what is wrong, the limit, the remedy; and nothing is harmed."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch

import tiny
from commands import ENV, Completed, run_gpt1, run_gpt1_process
from gpt1 import pipeline, storage
from gpt1.checkpoint import folder, huggingface
from gpt1.data.shards import write_shards
from gpt1.data.tables import Texts
from gpt1.text.tokenizer import Tokenizer
from harmless import Refusing, flip, snapshot

SIZE = "[model]\nvocab_size = 99\nn_ctx = 16\nn_embd = 8\nn_layer = 1\nn_head = 2\n"
TEXT = "the dog and the cat is the dog.\n" * 20
TRAIN = "--size size.toml --set train.batch_size=2 --steps 1 --out new"
GENERATE = "generate 'the dog' --model tiny"
LOAD = "generate 'the dog' --model"
PREPARED = "--out new --tokenizer vocabulary"
TUNE = "--column Joke --model tiny --steps 1 --out new"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with good and bad files of all kinds, made once: no case may change it."""
    work = tmp_path_factory.mktemp("work")
    tiny.write_vocabulary(work / "plain")
    tokenizer = Tokenizer.load(work / "plain", words="fast")
    tokenizer.save(work / "vocabulary")
    other = Tokenizer.train([TEXT, "zebra crossing zebra"], 40, words="fast")
    _texts(work)
    _models(work, tokenizer)
    for name, words in (("shards", tokenizer), ("othershards", other)):
        write_shards(work / name, Texts(work / "text.txt"), words, workers=1)
    write_shards(work / "fewshards", Texts(work / "short.txt"), tokenizer, workers=1)
    shutil.copytree(work / "shards", work / "cutshards")
    shard = work / "cutshards" / "shard-00000.bin"
    shard.write_bytes(shard.read_bytes()[:-2])
    pipeline.pretrain(
        work / "shards",
        size=str(work / "size.toml"),
        out=work / "run",
        overrides=["train.steps=1", "train.batch_size=2"],
    )
    shutil.copytree(work / "run", work / "brokenrun")
    (work / "brokenrun" / "run.json").write_text('{"config"')
    return work


def _texts(work: Path) -> None:
    jokes = "ID,Joke\n" + "".join(f"{i},the dog and the cat {i}\n" for i in range(8))
    files: dict[str, str | bytes] = {
        "text.txt": TEXT,
        "empty.txt": "",
        "short.txt": "the dog",
        "broken.txt": b"the dog\nthe c\xe9t\n",
        "jokes.csv": jokes,
        "one.csv": "ID,Joke\n1,the dog and the cat\n",
        "words.csv": "Joke\ndog\ncat\n",
        "news.csv": "title,body\nthe dog,and the cat\n",
        "stars.csv": "text,Stars\nthe dog,1\n",
        "size.toml": SIZE,
        "broken.toml": "[train\nsteps = 1\n",
        "expected.json": "{}",
        "odd.json": json.dumps(dict.fromkeys(
            ["parameters", "prompt", "ids", "logits", "next", "loss", "continuations",
             "text_loop"], 3)),
        "hostile.bin": b"cos\nsystem\n(S'true'\ntR.",
    }  # fmt: skip
    for name, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        (work / name).write_bytes(data)
    (work / "things").mkdir()
    (work / "things" / "a.txt").write_text("the dog")


def _models(work: Path, tokenizer: Tokenizer) -> None:
    model = tiny.model()
    folder.save(work / "tiny", model, tokenizer)
    folder.save(work / "long", tiny.model(n_ctx=512), tokenizer)
    folder.save(work / "silent", model, None)
    (work / "things.bin").mkdir()

    shutil.copytree(work / "tiny", work / "flipped")
    flip(work / "flipped" / "model.safetensors")
    shutil.copytree(work / "tiny", work / "gone")
    (work / "gone" / "model.safetensors").unlink()
    _foreign(work / "tiny", work / "misfit")
    (work / "misfit" / "merges.txt").write_text("#version: 0.2\nt h\nth z</w>\n")
    _foreign(work / "tiny", work / "pickled")
    (work / "pickled" / "model.safetensors").unlink()
    weights = huggingface.from_state(model.state_dict())
    torch.save(weights, work / "pickled" / "pytorch_model.bin")


def _foreign(source: Path, target: Path) -> None:
    """Copy a model as another tool would have saved it: without what only gpt1 writes."""
    shutil.copytree(source, target)
    (target / storage.MANIFEST).unlink()
    (target / "gpt1.json").unlink()


@pytest.fixture(autouse=True)
def working_folder(place: Path, offline: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def refused(done: Completed, code: int, words: list[str]) -> None:
    """Check how a command failed, and what it said."""
    assert (done.code, done.stdout) == (code, ""), done.message
    assert not [word for word in words if word not in done.message], done.message


# The command line, its exit code, and words of its message.
CASES: list[tuple[str, int, list[str]]] = [
    # commands and options
    ("genrate 'the dog'", 2, ["No such command 'genrate'"]),
    ("generate 'the dog' --colour red", 2, ["No such option", "--colour"]),
    ("generate", 2, ["Missing argument", "prompt"]),
    ("generate 'the dog' --temperature warm", 2, ["'--temperature'", "valid number"]),
    ("pretrain shards --size tiny", 2, ["Missing option", "--out"]),
    (f"finetune jokes.csv {TUNE} --limit -1", 2, ["'--limit'", "equal to 1"]),
    ("explain 'the dog' --model tiny --steps -1", 2, ["'--steps'", "equal to 0"]),
    ("finetune jokes.csv --task jokes --out new", 2, ["'jokes' is not", "lm"]),
    # sampling
    (f"{GENERATE} --max-new-tokens -1", 2, ["max_new_tokens is -1"]),
    (f"{GENERATE} --stop ''", 2, ["stop.0 is ''", "at least 1 character"]),
    (f"{GENERATE} --set sampling.max_length=1", 2,
     ["prompt is 2 ids long", "max_length is 1", "Raise max_length"]),
    (f"{GENERATE} --set sampling.topp=1", 2,
     ["unknown setting 'sampling.topp'", "Did you mean 'top_p'?"]),
    (f"{GENERATE} --set train.steps=1", 2, ["section 'train'", "sampling"]),
    (f"{GENERATE} --set temperature=1", 2, ["section.field=value"]),
    # prompts
    ("generate '' --model tiny", 2, ["the prompt is empty", "Give it some text"]),
    (f"generate '{'the ' * 513}' --model long", 2,
     ["the prompt is 513 ids long", "512 positions", "Shorten"]),
    ("explain '' --model tiny", 2, ["the text", "Give"]),
    ("generate 'dog \udce9' --model tiny", 2, ["'\\udce9'", "half of a surrogate pair", "Drop it"]),
    ("tokenize 'the dog' --model tiny --words orginal", 2,
     ["words is 'orginal'", "Did you mean 'original'?"]),
    # models
    (f"{LOAD} nowhere", 1, ["the model is 'nowhere'", "Give a folder"]),
    (f"{LOAD} {'a' * 300}", 1, ["there is no such folder"]),
    (f"{LOAD} ~nobodyhere/model", 1, ["~nobodyhere/model", "Give a folder"]),
    (f"{LOAD} text.txt", 1, ["text.txt is a file", "give the folder"]),
    (f"{LOAD} silent", 1, ["silent has no vocabulary", "Copy"]),
    ("verify tiny --expected odd.json", 2, ["odd.json", "form of"]),
    ("verify tiny --expected none.json", 2, ["none.json cannot be read"]),
    ("verify tiny --expected expected.json", 2, ["expected.json lacks", "published.json"]),
    (f"{LOAD} flipped", 1, ["model.safetensors is not what was written", "Restore"]),
    (f"{LOAD} gone", 1, ["model.safetensors is gone", "Restore"]),
    (f"{LOAD} misfit", 1, ["merge 1 (th z</w>)", "vocabulary lacks"]),
    (f"{LOAD} pickled", 1, ["pickle", "never loads it", "gpt1 convert"]),
    (f"{LOAD} hostile.bin", 1, ["is a pickle", "gpt1 convert"]),
    ("doctor --size huge", 2, ["size is 'huge'", "gpt1, lstm, lstm-mini, mini, tiny"]),
    ("convert hostile.bin --out new", 1, ["no config.json beside", "Add it"]),
    ("convert missing/model.bin --out new", 1, ["there is no folder missing"]),
    ("convert pickled/missing.bin --out new", 1, ["has no file missing.bin"]),
    ("pull nowhere", 1, ["the model is 'nowhere'", "owner/name"]),
    ("pull some/model", 1, ["could not fetch the model some/model", "OFFLINE is set", "Unset"]),
    ("pull a/b/c --out new", 1, ["the model is 'a/b/c'", "owner/name"]),
    # text files
    (f"prepare missing.txt {PREPARED}", 2, ["no file missing.txt", "Check"]),
    (f"prepare {'a' * 300}.txt {PREPARED}", 2, ["aaa.txt", "Check"]),
    (f"prepare broken.txt {PREPARED}", 2,
     ["broken.txt:2: byte 13 is not UTF-8", "--encoding cp1252"]),
    (f"prepare things {PREPARED}", 2, ["things is a folder", "things/*.txt"]),
    (f"prepare news.csv {PREPARED}", 2, ["title, body", "--column body"]),
    ("finetune stars.csv --out new", 2, ["--task classification --label-column Stars"]),
    (f"prepare hub:some/jokes {PREPARED}", 1, ["could not fetch", "OFFLINE"]),
    (f"prepare hub:jokes {PREPARED}", 1, ["hub:owner/name"]),
    ("prepare text.txt --out new --tokenizer things", 1, ["things has no vocabulary", "learn-bpe"]),
    ("prepare text.txt --out new --tokenizer missing", 1, ["no folder missing", "Check the path"]),
    (f"prepare text.txt {PREPARED} --words quick", 2, ["words is 'quick'"]),
    ("prepare text.txt --out shards --tokenizer vocabulary", 1, ["already there", "another"]),
    ("prepare text.txt --out text.txt/new --tokenizer vocabulary", 1, ["could not create"]),
    ("learn-bpe empty.txt --out new", 2, ["empty.txt is empty", "Give"]),
    ("learn-bpe text.txt --out new --words fast --vocab-size 12", 2,
     ["vocab_size is 12", "characters", "larger vocab_size"]),
    ("learn-bpe text.txt --out tiny --words fast", 1, ["tiny is already there", "another"]),
    # training
    ("pretrain text.txt --out new --size tiny", 2, ["text.txt", "gpt1 prepare"]),
    ("pretrain things --out new --size tiny", 2, ["no prepared text", "gpt1 prepare"]),
    ("pretrain missing --out new --size tiny", 1, ["there is no folder missing", "Check"]),
    (f"pretrain cutshards {TRAIN}", 1, ["shard-00000.bin is not what was written", "Restore"]),
    (f"pretrain shards --valid othershards {TRAIN}", 1, ["another tokenizer", "Prepare the text"]),
    (f"pretrain fewshards {TRAIN}", 2, ["the text has 2 tokens", "n_ctx + 1 = 17", "more text"]),
    (f"pretrain shards {TRAIN} --recipe pretraining", 2, ["recipe is", "Did you mean 'pretrain'?"]),
    (f"pretrain shards {TRAIN} --size missing.toml", 2, ["missing.toml cannot be read"]),
    (f"pretrain shards {TRAIN} --config broken.toml", 2, ["broken.toml is not TOML", "line 1"]),
    (f"pretrain shards {TRAIN} --config things", 2, ["things cannot be read"]),
    (f"pretrain shards {TRAIN} --set steps=2", 2, ["--set is 'steps=2'", "section.field=value"]),
    (f"pretrain shards {TRAIN} --set model.n_ctx=60000", 2, ["n_ctx + 1 = 60,001", "smaller"]),
    (f"pretrain shards {TRAIN} --set train.device=cuda:99", 2, ["device is 'cuda:99'", "Try auto"]),
    (f"pretrain shards {TRAIN} --set data.pack=documents", 2, ["data.pack", "gpt1 finetune"]),
    (f"pretrain shards {TRAIN} --resume", 1, ["no run to resume", "Leave out --resume"]),
    (f"pretrain shards {TRAIN} --out run", 1, ["a run is already in run", "--resume"]),
    (f"pretrain shards {TRAIN} --out things", 1, ["something is already in things", "--out"]),
    (f"pretrain shards {TRAIN} --out text.txt", 1, ["text.txt", "--out"]),
    (f"pretrain shards {TRAIN} --out run --resume --set optimizer.lr=0.5", 1,
     ["optimizer.lr was 0.003 and is 0.5", "another folder"]),
    (f"pretrain shards {TRAIN} --out brokenrun --resume", 1, ["run.json", "damaged"]),
    (f"finetune jokes.csv {TUNE} --column Jokes", 2, ["--text-column is given twice"]),
    ("finetune jokes.csv --column Jokes --model tiny --out new", 2, ["Did you mean 'Joke'?"]),
    (f"finetune one.csv {TUNE}", 2, ["there is 1 text", "data.valid_share=0"]),
    (f"finetune words.csv {TUNE} --prefix '' --set data.end=nothing", 2, ["at least two words"]),
    (f"finetune jokes.csv {TUNE} --out run", 1, ["a run is already in run"]),
    (f"finetune jokes.csv {TUNE} --recipe article", 2, ["max_pack is 500", "max_pack=32"]),
    (f"finetune jokes.csv {TUNE} --recipe article --set data.max_pack=2", 2,
     ["cannot fill one pack", "documents"]),
    ("demo --jokes words.csv --column Jokes --out new", 2, ["no column 'Jokes'"]),
]  # fmt: skip


@pytest.mark.parametrize(("line", "code", "words"), CASES, ids=[line[:70] for line, *_ in CASES])
def test_what_cannot_be_is_said_and_harms_nothing(
    place: Path, line: str, code: int, words: list[str]
) -> None:
    before = snapshot(place)
    refused(run_gpt1(line), code, words)
    assert snapshot(place) == before


WRITING = [
    "prepare text.txt --out new --tokenizer vocabulary",
    "learn-bpe text.txt --out new --words fast",
    "convert tiny --out new",
    "pull ./tiny --out new",
]


@pytest.mark.parametrize("line", WRITING)
@pytest.mark.parametrize(
    ("kind", "number", "n", "reason"),
    [
        ("write", errno.ENOSPC, 1, "No space left on device"),
        ("write", errno.ENOSPC, 3, "No space left on device"),
        ("write", errno.EIO, 2, "Input/output error"),
        ("make_folder", errno.EROFS, 1, "Read-only file system"),
        ("create", errno.EACCES, 2, "Permission denied"),
    ],
)
def test_a_disk_that_refuses_is_said_and_leaves_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch,
    line: str, kind: str, number: int, n: int, reason: str,
) -> None:  # fmt: skip
    before = snapshot(place)
    monkeypatch.setattr(storage.system, "disk", Refusing((kind,), number, n))
    verb = "create" if kind == "make_folder" else "write"
    done = run_gpt1(line)
    refused(done, 1, [f"gpt1: could not {verb}", reason, "free some space"])
    assert snapshot(place) == before


TRAINING = [
    "pretrain shards --size size.toml --steps 2 --set train.batch_size=2 --out ",
    "finetune jokes.csv --column Joke --model tiny --steps 2 --out ",
]


@pytest.mark.parametrize("command", TRAINING)
@pytest.mark.parametrize("n", [2, 12])
def test_a_disk_that_fills_during_training_harms_nothing_and_the_run_can_be_done_again(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, n: int
) -> None:
    before = snapshot(place)
    line = f"{command}{tmp_path / 'run'}"
    monkeypatch.setattr(storage.system, "disk", Refusing(("write",), errno.ENOSPC, n))
    refused(run_gpt1(line), 1, ["No space left on device"])
    monkeypatch.setattr(storage.system, "disk", storage.Disk())
    begun = (tmp_path / "run" / "run.json").exists()
    run_gpt1(line + " --resume" * begun).check()
    assert folder.load(tmp_path / "run" / "model").config.n_layer in (1, 2)
    assert not list((tmp_path / "run").rglob(".*"))
    assert snapshot(place) == before


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "words"),
    [
        (["generate", "-", "--model", "tiny"], b"the dog \xe9\n", 2,
         ["stdin: byte 8 is not UTF-8", "Convert"]),
        (["tokenize", b"dog \xe9", "--model", "vocabulary"], b"", 2, ["half of a surrogate pair"]),
        (["prepare", "broken.txt", "--out", "new", "--tokenizer", "vocabulary"], b"", 2,
         ["gpt1: broken.txt:2: byte 13 is not UTF-8"]),
        (["pull", "some/model"], b"", 1, ["HF_HUB_OFFLINE is set"]),
    ],
)  # fmt: skip
def test_the_program_itself_ends_with_a_message(
    place: Path, arguments: list[str | bytes], stdin: bytes, code: int, words: list[str]
) -> None:
    before = snapshot(place)
    env = {**ENV, "PYTHONWARNINGS": "error"}
    refused(run_gpt1_process(*arguments, stdin=stdin, env=env), code, words)
    assert snapshot(place) == before


def _as_anyone() -> None:
    """Give up what lets root read and write everything (capabilities 1 and 2, Linux)."""
    if os.geteuid() == 0:
        for capability in (1, 2):
            ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP


@pytest.mark.skipif(sys.platform != "linux", reason="permissions are other elsewhere")
@pytest.mark.parametrize(
    ("closed", "arguments", "code", "words"),
    [
        ("mine.txt", ["prepare", "mine.txt", "--out", "new", "--tokenizer", "words"], 2,
         ["mine.txt cannot be read: Permission denied"]),
        ("shut", ["prepare", "open.txt", "--out", "shut/new", "--tokenizer", "words"], 1,
         ["could not create", "Permission denied", "another place"]),
        ("words", ["tokenize", "the dog", "--model", "words"], 1,
         ["could not read words: Permission denied"]),
        ("words/vocab.json", ["prepare", "open.txt", "--out", "new", "--tokenizer", "words"], 1,
         ["could not read words/vocab.json: Permission denied"]),
        ("words/manifest.json", ["prepare", "open.txt", "--out", "new", "--tokenizer", "words"], 1,
         ["could not read words: Permission denied"]),
        ("shut", ["tokenize", "the dog", "--model", "shut/model"], 1,
         ["could not read shut/model: Permission denied"]),
    ],
)  # fmt: skip
def test_what_may_not_be_read_or_written_is_said(
    place: Path, tmp_path: Path, closed: str, arguments: list[str], code: int, words: list[str]
) -> None:
    shutil.copytree(place / "vocabulary", tmp_path / "words")
    (tmp_path / "shut").mkdir()
    for name in ("mine.txt", "open.txt", "shut/a.txt"):
        (tmp_path / name).write_text("the dog")
    (tmp_path / closed).chmod(0)
    try:
        done = run_gpt1_process(*arguments, cwd=tmp_path, preexec_fn=_as_anyone)
    finally:
        (tmp_path / closed).chmod(0o755)
    refused(done, code, words)
    assert not (tmp_path / "new").exists()
