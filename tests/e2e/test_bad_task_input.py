"""Bad rows, files, options and models of the five task types, from one table of cases.

What is wrong is said with its place, the limit and the remedy; nothing that was there is changed;
and what can be left out is left out and counted.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shlex
import shutil
from collections import Counter
from pathlib import Path

import pytest

import tiny
import worlds
from commands import run_gpt1
from gpt1 import storage
from gpt1.checkpoint import folder
from gpt1.tasks.predictor import Predictor
from gpt1.text.tokenizer import Tokenizer
from harmless import Refusing, State, damage_head, flip, snapshot
from worlds import PAPER_KINDS

ALL = PAPER_KINDS
CLASSES: tuple[str, ...] = ("classification", "entailment", "similarity")
PAIRS: tuple[str, ...] = ("entailment", "similarity", "regression")
EITHER: tuple[str, ...] = ("similarity", "regression")
CHOICE: tuple[str, ...] = ("choice",)
SCORES: tuple[str, ...] = ("regression",)
MARKS: dict[str, dict[str, str]] = {
    "texts": {"classification": "text", "choice": "context,question,answer_0,answer_1,answer_2"}
    | dict.fromkeys(PAIRS, "text_a,text_b"),
    "first": {"classification": "text", "choice": "context"} | dict.fromkeys(PAIRS, "text_a"),
    "m": {"classification": "", "choice": ",is it,the dog,a cat,and"}
    | dict.fromkeys(PAIRS, ",the cat is a dog"),
    "j": {
        "classification": "",
        "choice": '"question": "is it", "answers": ["the dog", "a cat", "and"], ',
    }
    | dict.fromkeys(PAIRS, '"text_b": "the cat is a dog", '),
    "a": dict(zip(PAPER_KINDS, ("bad", "yes", "different", "0", "0"), strict=True)),
    "b": dict(zip(PAPER_KINDS, ("good", "no", "same", "5", "1"), strict=True)),
    "other": {kind: "choice" if kind != "choice" else "similarity" for kind in PAPER_KINDS},
}
"""What a mark such as <first> stands for in a case of each kind; m and j: a row's other texts."""
STARTS = ("the dog", "the cat", "a dog is", "a cat is", "the dog and", "the cat and")
ROWS = "".join(f"{text}<m>,{label}\n" for text, label in zip(STARTS, ["<a>", "<b>"] * 3,
    strict=True))  # fmt: skip
JROWS = "".join(
    f'{{"<first>": "{text}", <j>"label": "{label}"}}\n'
    for text, label in zip(STARTS, ["<a>", "<b>"] * 3, strict=True)
)
LONG = "the dog and a cat " * 3000
COMMON = {
    "head": "<texts>,label",
    "rows": ROWS,
    "jrows": JROWS,
    "long": LONG,
    "tune": "--task <kind> --model tiny --steps 1 --set train.batch_size=2 --out new",
    "distinct": "".join(f"the dog {i}<m>,a{i} word{i}\n" for i in range(25)),
    "thousand": "".join(f"the dog {i}<m>,no{i % 1001}\n" for i in range(2002)),
    "few": "".join(f"the dog {i}<m>,w{i}\n" for i in range(19)),
    "200": ", ".join(f'"the cat {i}"' for i in range(200)),
}

G = "<head>\n<rows>"
TUNE, LABEL, MEASURE = "finetune f.csv <tune>", "predict model-<kind> f.csv", (
    "evaluate model-<kind> f.csv")  # fmt: skip

# The kinds, the files, the command line, its exit code, and what it must say (regular expressions).
# \udcXX in a file is the byte XX. Files are f.csv where they are one text.
Files = str | dict[str, str]
COMMANDS: list[tuple[tuple[str, ...], Files, str, int, list[str]]] = [
    # The file
    (ALL, {}, TUNE, 2, ["there is no file f.csv", "Check the path"]),
    (ALL, {}, "finetune things <tune>", 2, ["things is a folder", "Name the files in it"]),
    (ALL, "", TUNE, 2, ["f.csv is empty", "Give a file"]),
    (ALL, "<head>\n", TUNE, 2, ["f.csv: nothing to use; 0 rows from 1 file", "Give a file"]),
    (ALL, {"f.doc": G}, "finetune f.doc <tune>", 2, ["f.doc is of no known kind", "reads .*.csv"]),
    (ALL, "one<m>,<a>\n<rows>", TUNE, 2,
     ["f.csv, read without a header", "<kind> takes <first>", "--text-column 1"]),
    (ALL, "<head>\n<rows>the c\udce9t<m>,<a>\n", TUNE, 2,
     [r"f.csv:8: byte \d+ is not UTF-8", "--encoding cp1252"]),
    (ALL, '<head>\n<rows>"the dog<m>,<a>\n', TUNE, 2, ["f.csv:8: not a csv row", "double quotes"]),
    (ALL, "<head>\n<rows>the dog<m>,<a>,more\n", TUNE, 2,
     [r"f.csv:8: the row has \d fields?; the header has \d", "Correct the row"]),
    (ALL, "label,<head>\n", TUNE, 2, ["f.csv has two columns named 'label'", "Rename"]),
    (ALL, {"f.jsonl": '<jrows>{"<first>": "the\n'}, "finetune f.jsonl <tune>", 2,
     ["f.jsonl:7: not JSON", "one JSON object"]),
    (ALL, {"f.csv.gz": "\x1f\udc8b\x08cut"}, "finetune f.csv.gz <tune>", 2,
     ["f.csv.gz: the gzip file is cut off or damaged", "again"]),
    (ALL, {}, "finetune hub:some/rows <tune>", 1, ["could not fetch .*some/rows", "OFFLINE"]),
    # Its columns
    (ALL, "<texts>,labels\nthe dog<m>,<a>\n", TUNE, 2,
     ["f.csv has the columns .*labels; <kind> takes <first>", "--label-column labels"]),
    (ALL, "<texts>\nthe dog<m>\n", MEASURE, 2, ["f.csv has the columns", "takes .*, label"]),
    (ALL, G, f"{TUNE} --columns <first>=<first>t", 2,
     ["f.csv has no column '<first>t'; it has <first>", "Did you mean '<first>'"]),
    (ALL, G, f"{MEASURE} --columns label=Label", 2, ["no column 'Label'", "Did you mean 'label'"]),
    (ALL, G, f"{TUNE} --columns <first>", 2, ["--columns is '<first>'", "text=Review,label=St"]),
    (ALL, G, f"{TUNE} --columns label=", 2, ["--columns is 'label='", "pairs with commas"]),
    (ALL, G, f"{TUNE} --columns label=label,label=<first>", 2, ["names 'label' twice"]),
    (ALL, G, f"{TUNE} --columns label=label,<first>=label", 2, ["column 'label' two meanings"]),
    (ALL, G, f"{TUNE} --columns lable=label", 2,
     ["columns names 'lable'; <kind> takes <first>", "Did you mean 'label'"]),
    (ALL, G, f"{TUNE} --columns <first>=<first> --text-column <first>", 2,
     ["--columns names '<first>', and so does another option", "Leave one out"]),
    (ALL, G, f"{TUNE}{' --text-column <first>' * 3}", 2,
     [r"--text-column is given 3 times; <kind> has the columns <first>", "with --columns"]),
    (ALL, G, f"{TUNE} --prefix joke", 2, ["--prefix is for --task lm", "Leave it out"]),
    (ALL, {"f.jsonl": '<jrows>{"label": "<a>"}\n'}, "finetune f.jsonl <tune>", 2,
     ["f.jsonl:7 has no column '<first>'; it has label"]),
    # Labels
    (ALL, "<head>\n<rows>the dog<m>,\na<m>,  \n", TUNE, 0,
     ["8 rows from 1 file: 6 used, 2 rejected .no label: 2"]),
    (ALL, "<head>\nthe dog<m>,<a>\na<m>,\nand<m>,<b>\n", MEASURE, 0,
     ["3 rows from 1 file: 2 used, 1 rejected .no label: 1"]),
    (ALL, {"f.jsonl": '<jrows>{"<first>": "a", <j>"label": null}\n{"<first>": "a", <j>"x": 1}\n'},
     "evaluate model-<kind> f.jsonl", 0, ["8 rows from 1 file: 6 used, 2 rejected .no label: 2"]),
    (ALL, {"f.jsonl": '<jrows>{"<first>": "the dog", <j>"label": ["<a>"]}\n'},
     "finetune f.jsonl <tune>", 2, ["f.jsonl:7: the label is a list; .* string or a number"]),
    (CLASSES, "<head>\n<rows>the dog<m>,no\0\n", TUNE, 2, ["f.csv:8: the label is .*NUL", "Corr"]),
    (CLASSES, {"f.jsonl": '<jrows>{"<first>": "the dog", <j>"label": "\\ud800"}\n'},
     "finetune f.jsonl <tune>", 2, ["f.jsonl:7: the label is .*surrogate", "Correct the row"]),
    (CLASSES, "<head>\nthe dog<m>,<a>\n", TUNE, 2, ["f.csv:2: the only row has the label '<a>'"]),
    (CLASSES, "<head>\nthe dog<m>,<a>\nthe cat<m>,odd\n", MEASURE, 2,
     ["f.csv:3: the label is 'odd'; the task's classes are .*<a>", "Correct the row"]),
    (CLASSES, "<head>\n<distinct>", TUNE, 2,
     ["f.csv:2: the label is 'a0 word0'", "all 25 rows have different", "free text",
      "--columns label=NAME"]),
    (CLASSES, "<head>\n<thousand>", TUNE, 2,
     ["2,002 rows have 1,001 different labels", "1,000 are the most", "free text"]),
    (CLASSES, "<head>\n<few>", TUNE, 0, ["19 rows from 1 file: 19 used", "w18: 1"]),
    (SCORES, "<head>\nthe dog<m>,3\n", TUNE, 2, ["f.csv:2: the only score is 3"]),
    *((SCORES, f"<head>\n<rows>the dog<m>,{odd}\n", command, 2,
       [rf"f.csv:8: the label is '{odd.strip(chr(34))}'; it must be a number"])
      for odd in ("high", "nan", "inf", "1e999", '"1,5"', "1_0") for command in (TUNE, MEASURE)),
    (SCORES, "<head>\n<rows>the dog<m>,1e200\nthe cat<m>,-1e200\n", TUNE, 2,
     [r"f.csv:8: the score is 1e\+200; it must be between -1e\+30 and 1e\+30", "Correct"]),
    (SCORES, "<head>\nthe dog<m>,7\nthe cat<m>,-3\n", MEASURE, 0, ["2 rows from 1 file: 2 used"]),
    *((CHOICE, f"<head>\n<rows>the dog<m>,{odd}\n", command, 2,
       [f"f.csv:8: the label is '{odd}'; .*index of the right answer, 0 to 2"])
      for odd in ("-1", "3", "0.5", "the dog", "answer_0") for command in (TUNE, MEASURE)),
    (CHOICE, {"f.jsonl": '<jrows>{"<first>": "a", <j>"label": true}\n'}, "finetune f.jsonl <tune>",
     2, ["f.jsonl:7: the label is 'true'; .*index of the right answer, 0 to 2"]),
    (CHOICE, "<head>\nthe dog<m>,1\nthe cat<m>,1\n", TUNE, 0, ["0: 0, 1: 2, 2: 0"]),
    # Texts
    (ALL, "<head>\n<m>,<a>\n  <m>,<b>\n", TUNE, 2, ["nothing to use", "empty: 2"]),
    (ALL, "<head>\n<rows><m>,<a>\n \t<m>,<b>\n", LABEL, 0,
     ["6 used, 2 rejected .empty: 2", "2 rows could not be used and got no label"]),
    (ALL, "<head>\n<rows>\x01<m>,<a>\n", TUNE, 0, ["7 rows .*6 used, 1 rejected .no words: 1"]),
    (ALL, "<head>\n\x01<m>,<a>\n\x02<m>,<b>\n", TUNE, 2, ["f.csv:2: nothing to", "no words: 2"]),
    (ALL, "<head>\n\x01<m>,<a>\nthe dog<m>,<a>\n", LABEL, 0, ["1 used, 1 rejected .no words: 1"]),
    (ALL, "<head>\n<rows>the\0dog<m>,<a>\n", MEASURE, 0, ["6 used, 1 rejected .NUL character: 1"]),
    (ALL, {"f.jsonl": '<jrows>{"<first>": "\\ud800", <j>"label": "<a>"}\n'},
     "evaluate model-<kind> f.jsonl", 0, ["6 used, 1 rejected .lone surrogate: 1"]),
    (ALL, {"f.jsonl": "<jrows>" + "".join(f'{{"<first>": {odd}, <j>"label": "<a>"}}\n'
                                          for odd in ("7", "null", '["the dog"]', "true"))},
     "evaluate model-<kind> f.jsonl", 0, ["10 rows .*6 used, 4 rejected .empty: 1, not text: 3"]),
    (ALL, "<head>\n<rows><long><m>,<a>\n", TUNE, 0,
     ["7 rows .*7 used", "; 1 (is|are) longer than the window and (is|are) cut", "docs/tasks.md"]),
    (ALL, "<head>\n<rows><long><m>,<a>\n", LABEL, 0, ["1 row is longer than the model's window"]),
    (ALL, "<head>\n<rows><long><m>,<a>\n", MEASURE, 0, ["1 row is longer than the model's window"]),
    (PAIRS, "<head>\n<rows>the dog,<long>,<a>\n", TUNE, 0, ["1 (is|are) longer than the window"]),
    (PAIRS, "<head>\n<rows>the dog,,<a>\na, ,<b>\n", MEASURE, 0, ["6 used, 2 rejected .empty: 2"]),
    (CHOICE, "<head>\n<rows>a,,<long>,b,c,<a>\n", TUNE, 0, ["1 (is|are) longer than the window"]),
    (CHOICE, "<head>\n<rows>a,,a,b,c,<a>\na, ,a,b,c,<b>\n", MEASURE, 0, ["8 rows .*8 used, 0 re"]),
    (CHOICE, {"f.jsonl": '{"context": "a", "question": 7, "answers": ["a", "b", "c"], "label": 0}\n'
              "<jrows>"}, "evaluate model-choice f.jsonl", 0, ["rejected .question: not text: 1"]),
    (CHOICE, "<head>\n<rows>the dog,is it,a,,c,<a>\n", TUNE, 2,
     ["f.csv:8: the row has 2 answers; it must have 3", "Correct the row"]),
    (CHOICE, "<head>\nthe dog,is it,a,,c,\n", LABEL, 0, ["rejected .wrong number of answers: 1"]),
    (CHOICE, "<head>\n<rows>the dog,is it,a, ,c,<a>\n", MEASURE, 0, ["6 used, 1 rejected .empty"]),
    (CHOICE, "context,answer_0,answer_1,label\nthe dog,a,b,0\n", MEASURE, 2,
     ["f.csv:2: the row has 2 answers; it must have 3"]),
    (CHOICE, {"f.jsonl": '<jrows>{"context": "a", "answers": ["a", "b"], "label": 0}\n'},
     "finetune f.jsonl <tune>", 2, ["f.jsonl:7: the row has 2 answers; it must have 3"]),
    (CHOICE, {"f.jsonl": '<jrows>{"context": "a", "answers": ["a", 2, "c"], "label": 0}\n'},
     "evaluate model-<kind> f.jsonl", 0, ["6 used, 1 rejected .not text: 1"]),
    (CHOICE, {"f.jsonl": '{"context": "a", "answers": [<200>], "label": 0}\n'
              '{"context": "b", "answers": [<200>], "label": 199}\n'},
     "finetune f.jsonl <tune>", 0, ["2 rows from 1 file: 2 used", "199: 1"]),
    # Texts that occur more than once
    (ALL, "<head>\n<rows>the dog<m>,<b>\n", TUNE, 0,
     [r"7 used", r"1 with another label \(all are kept\)",
      "f.csv:8 says '<b>', f.csv:2 '<a>': 'the dog'"]),
    (ALL, "<head>\n<rows>the dog<m>,<a>\n", MEASURE, 0,
     ["7 used", "1 row repeats? an earlier one; 0 with another"]),
    (ALL, "<head>\nthe dog<m>,<a>\nthe  Dog<m>,<b>\n", TUNE, 0, ["2 rows from 1 file: 2 used"]),
    (EITHER, "<head>\n<rows>the cat is a dog,the dog,<b>\n", TUNE, 0,
     ["1 with another label", "f.csv:8 says '<b>', f.csv:2 '<a>'"]),
    (("entailment",), "<head>\n<rows>the cat is a dog,the dog,<b>\n", TUNE, 0, ["no text occurs"]),
    # Rows to validate
    (ALL, {"f.csv": G, "v.csv": "<head>\nthe  Dog<m>,<b>\nand<m>,<a>\n"}, f"{TUNE} --valid v.csv",
     2, [r"1 of 2 rows of v.csv occurs in f.csv too .v.csv:2., so", "flatter", "--allow-leakage"]),
    (ALL, {"f.csv": G, "v.csv": "<head>\nthe dog<m>,<b>\nand<m>,<a>\n"},
     f"{TUNE} --valid v.csv --allow-leakage", 0,
     ["v.csv against f.csv: 1 of 2 test rows occurs in training", "2 to validate"]),
    (EITHER, {"f.csv": G, "v.csv": "<head>\nthe cat is a dog,the dog,<b>\na,b,<a>\n"},
     f"{TUNE} --valid v.csv", 2, ["1 of 2 rows of v.csv occurs in f.csv too .v.csv:2"]),
    (CLASSES, {"f.csv": G, "v.csv": "<head>\nand<m>,<a>\nis<m>,odd\n"}, f"{TUNE} --valid v.csv", 2,
     ["v.csv:3: the label is 'odd'; the task's classes are <a>, <b>|<b>, <a>"]),
    (SCORES, {"f.csv": G, "v.csv": "<head>\nand<m>,9\nis<m>,-9\n"}, f"{TUNE} --valid v.csv", 0,
     ["to validate: 2 rows from 1 file: 2 used"]),
    (CHOICE, {"f.csv": G, "v.csv": "context,answer_0,answer_1,label\nand,a,b,0\n"},
     f"{TUNE} --valid v.csv", 2, ["v.csv:2: the row has 2 answers; it must have 3"]),
    (ALL, {"f.csv": G, "v.csv": "<head>\nand<m>,<a>\nis<m>,<b>\n"},
     f"{TUNE} --valid v.csv --set data.valid_share=0.2", 2,
     ["data.valid_share is set, and --valid is what validates", "Leave one"]),
    # Settings
    (ALL, G, f"{TUNE} --task <kind>s", 2,
     ["task '<kind>s' is not one of", "Did you mean '<kind>'"]),
    (ALL, G, f"{TUNE} --recipe supervized", 2, ["recipe is 'supervized'", "'supervised'", ".toml"]),
    (ALL, G, f"{TUNE} --recipe jokes", 2, ["data.prefix|data.end|data.pack", "Leave it out"]),
    (ALL, G, f"{TUNE} --set task.lm_coef=-0.5", 2, ["task.lm_coef is -0.5", "equal to 0"]),
    (ALL, G, f"{TUNE} --set task.lm_coeff=1", 2, ["task.lm_coeff", "Did you mean 'lm_coef'"]),
    (ALL, G, f"{TUNE} --set model.n_layer=1", 2, ["model.. is given", "keeps the model's shape"]),
    (ALL, G, f"{TUNE} --set task.n_transfer=9", 2, ["n_transfer is 9", "2"]),
    (CLASSES, G, f"{TUNE} --set 'task.class_weight={{odd=2}}'", 2,
     ["task.class_weight names 'odd'; the classes are <a>, <b>|<b>, <a>"]),
    (CLASSES, G, f"{TUNE} --set 'task.class_weight={{<a>=0}}'", 2, ["class_weight", "greater"]),
    (("regression", "choice"), G, f"{TUNE} --set task.class_weight=balanced", 2,
     ["task.class_weight is 'balanced'; a <kind> has no classes", "Leave it out"]),
    # Models
    (ALL, G, f"{TUNE} --model nowhere", 1, ["the model is 'nowhere'", "owner/name"]),
    (ALL, G, f"{TUNE} --model flipped", 1, ["model.safetensors is not what was written"]),
    (ALL, G, f"{TUNE} --model short", 2, ["the model has 8 positions; a task needs 16", "larger"]),
    (ALL, G, "predict tiny f.csv", 1, ["tiny has no task", "gpt1 finetune --task"]),
    (ALL, G, "evaluate tiny f.csv --columns label=label", 2, ["tiny was not fine-tuned on a task"]),
    *((ALL, G, f"{verb} {damage}-<kind> f.csv", 1, said)
      for verb in ("predict", "evaluate")
      for damage, said in {
          "bytes": ["head.safetensors is not what was written", "Restore"],
          "gone": ["gone-<kind>/head.safetensors is gone", "Restore"],
          "lost": ["the head in \\S*lost-<kind> does not fit its task", "Restore"],
          "shape": ["head.safetensors holds .*; a head has weight", "Restore"],
          "wide": ["the head in \\S*wide-<kind> does not fit its task, which has", "Restore"],
          "other": ["the section task of gpt1.json is not one", "Restore"],
      }.items()),
    (ALL, "<head>\nthe dog<m>,<a>\n", f"{MEASURE} --task <other>", 2,
     ["the task is <other>; the model was fine-tuned on <kind>", "Leave --task out"]),
    (ALL, G, f"{MEASURE} --task <kind>x", 2, ["the task '<kind>x' is not one of", "Did you mean"]),
    (ALL, G, f"{MEASURE} --split test", 2, ["--split is test; it is for a data set", "Leave it"]),
    (ALL, G, f"{MEASURE} --page page.txt", 2, ["--page is page.txt; .*must end in .html"]),
    # Where the result goes
    (ALL, G, f"{TUNE} --out run-<kind>", 1, ["a run is already in run-<kind>", "--resume"]),
    (ALL, "<head>\n<rows>and<m>,<a>\nis a<m>,<b>\n", f"{TUNE} --out run-<kind> --resume", 1,
     ["the run in run-<kind> cannot go on", "the data is another one", "another folder"]),
    (ALL, G, f"{TUNE} --out run-<kind> --resume --set task.lm_coef=0.1", 1,
     ["task.lm_coef was 0.5 and is 0.1", "another folder"]),
    (ALL, G, f"READONLY {TUNE}", 1, ["could not create .*new.*Read-only file system"]),
    (ALL, G, f"READONLY {LABEL} --out new.csv", 1, ["could not write .*new.csv.*Read-only"]),
    (ALL, G, f"{LABEL} --out new.txt", 2, ["--out is new.txt; the file's name must end in .csv"]),
    (ALL, G, f"{LABEL} --out f.csv", 2, ["--out is f.csv, which is the file to read"]),
    (ALL, G, f"{LABEL} --out tiny/config.json/new.csv", 1, ["could not .*tiny/config.json"]),
]  # fmt: skip


def _fill(text: str, kind: str) -> str:
    """Put in what the marks stand for."""
    meaning = COMMON | {name: of[kind] for name, of in MARKS.items()} | {"kind": kind}
    for _ in range(3):  # marks stand for marks
        text = re.sub(r"<(\w+)>", lambda m: meaning.get(m[1], m[0]), text)
    return text


CASES = [
    pytest.param(
        kind,
        {"f.csv": files} if isinstance(files, str) else files,
        _fill(line, kind),
        code,
        [_fill(part, kind) for part in said],
        id=f"{number}-{kind}-{line[:50]}",
    )
    for number, (kinds, files, line, code, said) in enumerate(COMMANDS)
    for kind in kinds
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, quick_runs: None) -> Path:
    """A working folder with models, sound and damaged, and a run of each kind."""
    work = tmp_path_factory.mktemp("work")
    words = worlds.tokenizer(work / "vocabulary", words="fast")
    folder.save(work / "tiny", tiny.model(), words)
    folder.save(work / "short", tiny.model(n_ctx=8), words)
    shutil.copytree(work / "tiny", work / "flipped")
    flip(work / "flipped" / "model.safetensors")
    (work / "things").mkdir()
    (work / "things" / "a.txt").write_text("the dog")
    for kind in PAPER_KINDS:
        task, added = worlds.TASKS[kind], Tokenizer.load(work / "vocabulary", words="fast")
        sound = work / f"model-{kind}"
        Predictor(worlds.model(task, added).float(), added, task).save(sound)
        for damage in ("bytes", "gone", "lost", "shape", "wide", "other"):
            damage_head(sound, work / f"{damage}-{kind}", damage)
        (work / "f.csv").write_text(_fill(G, kind))
        with contextlib.chdir(work):
            run_gpt1(_fill(f"{TUNE} --out run-{kind}", kind)).check()
    (work / "f.csv").unlink()
    return work


@pytest.fixture(scope="module")
def untouched(place: Path) -> State:
    """The working folder before any case."""
    return snapshot(place)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(("kind", "files", "line", "code", "said"), CASES)
def test_a_bad_file_option_or_model_is_told_and_harms_nothing(
    kind: str, files: dict[str, str], line: str, code: int, said: list[str],
    place: Path, untouched: State, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name, content in files.items():
        (place / name).write_bytes(_fill(content, kind).encode("utf-8", "surrogateescape"))
    before = snapshot(place)
    if line.startswith("READONLY "):
        disk = Refusing(("make_folder", "create"), errno.EROFS)
        monkeypatch.setattr(storage.system, "disk", disk)
    try:
        with contextlib.chdir(place):
            done = run_gpt1(*shlex.split(line.removeprefix("READONLY ")))
        after = snapshot(place)
    finally:
        for name in files:
            (place / name).unlink()
        shutil.rmtree(place / "new", ignore_errors=True)
    missing = [part for part in said if not re.search(part, done.message)]
    assert (done.code, missing) == (code, []), done.message
    if code == 0 and line.startswith("finetune"):
        assert os.path.join("new", "model", "head.safetensors") in after
        after = {name: state for name, state in after.items() if name.split(os.sep)[0] != "new"}
    elif code:
        assert not done.stdout
    assert after == before == untouched | {name: before[name] for name in files}


def test_there_are_at_least_thirty_bad_cases_of_every_kind() -> None:
    bad = [case.values for case in CASES if case.values[3]]
    assert min(Counter(kind for kind, *_ in bad).values()) >= 30
    assert len({str(case.values[:3]) for case in CASES}) == len(CASES)
