"""Bad rows, files, options and models of the five task types, from one table of cases.

What is wrong is said with its place, the limit and the remedy; nothing that was there is changed;
and what can be left out is left out and counted.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shlex
import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

import gpt1
import tiny
import worlds
from commands import run_gpt1
from gpt1 import storage
from gpt1.checkpoint import folder
from gpt1.errors import CheckpointError, ConfigError, GPT1Error, InputError, TrainingError
from gpt1.tasks.predictor import Predictor
from gpt1.text.tokenizer import Tokenizer
from worlds import PAPER_KINDS

ALL = PAPER_KINDS
CLASSES: tuple[str, ...] = ("classification", "entailment", "similarity")
PAIRS: tuple[str, ...] = ("entailment", "similarity", "regression")
EITHER: tuple[str, ...] = ("similarity", "regression")
CHOICE: tuple[str, ...] = ("choice",)
SCORES: tuple[str, ...] = ("regression",)
LEAST = 30
"""Cases a kind."""

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
    (ALL, "<head>\n\n\n", TUNE, 2, ["f.csv: nothing to use; .*blank line 2"]),
    (ALL, {"f.doc": G}, "finetune f.doc <tune>", 2, ["f.doc is of no known kind", "reads .*.csv"]),
    (ALL, "one<m>,<a>\n<rows>", TUNE, 2,
     ["f.csv has the columns one, ", "<kind> takes <first>", "--columns '?<first>=one"]),
    (ALL, "<head>\n<rows>the c\udce9t<m>,<a>\n", TUNE, 2,
     [r"f.csv:8: byte \d+ is not UTF-8", "Convert the file"]),
    (ALL, '<head>\n<rows>"the dog<m>,<a>\n', TUNE, 2, ["f.csv:8: not a csv row", "double quotes"]),
    (ALL, "<head>\n<rows>the dog<m>,<a>,more\n", TUNE, 2,
     [r"f.csv:8: the row has \d fields; the header has \d", "Correct the row"]),
    (ALL, "<head>\n<rows>the dog\n", TUNE, 2, ["f.csv:8: the row has 1 fields?; the header has"]),
    (ALL, "label,<head>\n", TUNE, 2, ["f.csv has two columns named 'label'", "Rename"]),
    (ALL, {"f.jsonl": '<jrows>{"<first>": "the\n'}, "finetune f.jsonl <tune>", 2,
     ["f.jsonl:7: the line is not JSON", "one JSON object"]),
    (ALL, {"f.jsonl": '<jrows>["the dog", "<a>"]\n'}, "finetune f.jsonl <tune>", 2,
     ["f.jsonl:7: the line is .*one JSON object"]),
    (ALL, {"f.jsonl": "<jrows>null\n"}, "evaluate model-<kind> f.jsonl", 2,
     ["f.jsonl:7: the line is 'null'"]),
    (ALL, {"f.csv.gz": "<head>\n<rows>"}, "finetune f.csv.gz <tune>", 2,
     ["f.csv.gz:1: the gzip file is cut off or damaged", "again"]),
    (ALL, {"f.parquet": "<head>\n<rows>"}, "finetune f.parquet <tune>", 2,
     ["f.parquet: no parquet file, or a damaged one"]),
    (ALL, "<head>\n<rows>" + "x" * (8 << 20) + "<m>,<a>\n", TUNE, 2,
     ["f.csv:8: the row is longer than 8 MiB", "Split it"]),
    (ALL, {}, "finetune hub:jokes <tune>", 1, ["'hub:jokes'; it takes hub:owner/name"]),
    (ALL, {}, "finetune hub:some/rows <tune>", 1, ["could not fetch .*some/rows", "OFFLINE"]),
    # Its columns
    (ALL, "<texts>,labels\nthe dog<m>,<a>\n", TUNE, 2,
     ["f.csv has the columns .*labels; <kind> takes <first>", "--columns label=labels"]),
    (ALL, "<first>;label\nthe dog;<a>\n", TUNE, 2,
     ["f.csv has one column, '<first>;label': its fields have ';' between", "with commas"]),
    (ALL, "<texts>\nthe dog<m>\n", MEASURE, 2, ["f.csv has the columns", "takes .*, label"]),
    (ALL, "a,b\nthe dog,<a>\n", LABEL, 2, ["f.csv has the columns a, b; <kind> takes <first>"]),
    (ALL, G, f"{TUNE} --columns <first>=<first>t", 2,
     ["f.csv has no column '<first>t'; it has <first>", "Did you mean '<first>'"]),
    (ALL, G, f"{MEASURE} --columns label=Label", 2, ["no column 'Label'", "Did you mean 'label'"]),
    (ALL, G, f"{TUNE} --columns <first>", 2, ["--columns is '<first>'", "text=Review,label=St"]),
    (ALL, G, f"{TUNE} --columns label=", 2, ["--columns is 'label='", "pairs with commas"]),
    (ALL, G, f"{LABEL} --columns ''", 2, ["--columns is ''", "pairs with commas"]),
    (ALL, G, f"{TUNE} --columns label=label,label=<first>", 2, ["names 'label' twice"]),
    (ALL, G, f"{TUNE} --columns label=label,<first>=label", 2, ["column 'label' two meanings"]),
    (ALL, G, f"{TUNE} --columns lable=label", 2,
     ["columns names 'lable'; <kind> takes <first>", "Did you mean 'label'"]),
    (ALL, G, f"{TUNE} --column <first>", 2, ["--column is for --task lm", "--columns label=Stars"]),
    (ALL, G, f"{TUNE} --prefix joke", 2, ["--prefix is for --task lm", "Leave it out"]),
    (ALL, {"f.jsonl": '<jrows>{"label": "<a>"}\n'}, "finetune f.jsonl <tune>", 2,
     ["f.jsonl:7 has no column '<first>'; it has label"]),
    # Labels
    (ALL, "<head>\nthe dog<m>,\nthe cat<m>, \n", TUNE, 2, ["nothing to use", "no label 2"]),
    (ALL, "<head>\n<rows>the dog<m>,\na<m>,  \n", TUNE, 0,
     ["8 rows from 1 file: 6 used, 2 rejected .no label 2"]),
    (ALL, "<head>\nthe dog<m>,<a>\na<m>,\nand<m>,<b>\n", MEASURE, 0,
     ["3 rows from 1 file: 2 used, 1 rejected .no label 1"]),
    (ALL, {"f.jsonl": '<jrows>{"<first>": "a", <j>"label": null}\n{"<first>": "a", <j>"x": 1}\n'},
     "evaluate model-<kind> f.jsonl", 0, ["8 rows from 1 file: 6 used, 2 rejected .no label 2"]),
    (ALL, {"f.jsonl": '<jrows>{"<first>": "the dog", <j>"label": ["<a>"]}\n'},
     "finetune f.jsonl <tune>", 2, ["f.jsonl:7: the label is a list; .* string or a number"]),
    (ALL, {"f.jsonl": '<jrows>{"<first>": "the dog", <j>"label": {"is": 1}}\n'},
     "evaluate model-<kind> f.jsonl", 2, ["f.jsonl:7: the label is a dict"]),
    (CLASSES, "<head>\n<rows>the dog<m>,no\0\n", TUNE, 2, ["f.csv:8: the label is .*NUL", "Corr"]),
    (CLASSES, {"f.jsonl": '<jrows>{"<first>": "the dog", <j>"label": "\\ud800"}\n'},
     "finetune f.jsonl <tune>", 2, ["f.jsonl:7: the label is .*surrogate", "Correct the row"]),
    (CLASSES, "<head>\nthe dog<m>,<a>\nthe cat<m>,<a>\n", TUNE, 2,
     ["f.csv:2: all 2 rows have the label '<a>'", "at least two classes"]),
    (CLASSES, "<head>\nthe dog<m>,<a>\n", TUNE, 2, ["f.csv:2: the only row has the label '<a>'"]),
    (CLASSES, "<head>\nthe dog<m>,<a>\nthe cat<m>,odd\n", MEASURE, 2,
     ["f.csv:3: the label is 'odd'; the task's classes are .*<a>", "Correct the row"]),
    (CLASSES, "<head>\n<distinct>", TUNE, 2,
     ["f.csv:2: the label is 'a0 word0'", "all 25 rows have different", "free text",
      "--columns label=NAME"]),
    (CLASSES, "<head>\n<thousand>", TUNE, 2,
     ["2,002 rows have 1,001 different labels", "1,000 are the most", "free text"]),
    (CLASSES, "<head>\n<few>", TUNE, 0, ["19 rows from 1 file: 19 used", "w18 1"]),
    (SCORES, "<head>\nthe dog<m>,3\nthe cat<m>,3.0\n", TUNE, 2,
     ["f.csv:2: all 2 scores are 3", "scores that differ"]),
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
    (CHOICE, "<head>\nthe dog<m>,1\nthe cat<m>,1\n", TUNE, 0, ["0 0, 1 2, 2 0"]),
    # Texts
    (ALL, "<head>\n<m>,<a>\n  <m>,<b>\n", TUNE, 2, ["nothing to use", "empty 2"]),
    (ALL, "<head>\n<rows><m>,<a>\n \t<m>,<b>\n", LABEL, 0,
     ["6 used, 2 rejected .empty 2", "2 rows could not be used and got no label"]),
    (ALL, "<head>\n<m>,<a>\n", LABEL, 0, ["0 used, 1 rejected .empty 1", "1 row could not"]),
    (ALL, "<head>\n<rows>\x01<m>,<a>\n", TUNE, 0, ["7 rows .*6 used, 1 rejected .no words 1"]),
    (ALL, "<head>\n\x01<m>,<a>\n\x02<m>,<b>\n", TUNE, 2, ["f.csv:2: nothing to use", "no words 2"]),
    (ALL, "<head>\n\x01<m>,<a>\nthe dog<m>,<a>\n", LABEL, 0, ["1 used, 1 rejected .no words 1"]),
    (ALL, "<head>\n<rows>the\0dog<m>,<a>\n", MEASURE, 0, ["6 used, 1 rejected .NUL character 1"]),
    (ALL, {"f.jsonl": '<jrows>{"<first>": "\\ud800", <j>"label": "<a>"}\n'},
     "evaluate model-<kind> f.jsonl", 0, ["6 used, 1 rejected .lone surrogate 1"]),
    (ALL, {"f.jsonl": "<jrows>" + "".join(f'{{"<first>": {odd}, <j>"label": "<a>"}}\n'
                                          for odd in ("7", "null", '["the dog"]', "true"))},
     "evaluate model-<kind> f.jsonl", 0, ["10 rows .*6 used, 4 rejected .empty 1, not text 3"]),
    (ALL, "<head>\n<rows><long><m>,<a>\n", TUNE, 0,
     ["7 rows .*7 used", "; 1 (is|are) longer than the window and (is|are) cut", "docs/tasks.md"]),
    (ALL, "<head>\n<rows><long><m>,<a>\n", LABEL, 0, ["1 row is longer than the model's window"]),
    (ALL, "<head>\n<rows><long><m>,<a>\n", MEASURE, 0, ["1 row is longer than the model's window"]),
    (PAIRS, "<head>\n<rows>the dog,<long>,<a>\n", TUNE, 0, ["1 (is|are) longer than the window"]),
    (PAIRS, "<head>\n<rows><long>,<long>,<a>\n", LABEL, 0, ["1 row is longer than the model's"]),
    (PAIRS, "<head>\n<rows>the dog,,<a>\na, ,<b>\n", MEASURE, 0, ["6 used, 2 rejected .empty 2"]),
    (CHOICE, "<head>\n<rows>a,,<long>,b,c,<a>\n", TUNE, 0, ["1 (is|are) longer than the window"]),
    (CHOICE, "<head>\n<rows>a,<long>,a,b,c,<a>\n", LABEL, 0, ["1 row is longer than the model's"]),
    (CHOICE, "<head>\n<rows>a,,a,b,c,<a>\na, ,a,b,c,<b>\n", MEASURE, 0, ["8 rows .*8 used, 0 re"]),
    (CHOICE, {"f.jsonl": '{"context": "a", "question": 7, "answers": ["a", "b", "c"], "label": 0}\n'
              "<jrows>"}, "evaluate model-choice f.jsonl", 0, ["rejected .question: not text 1"]),
    (CHOICE, "<head>\n<rows>the dog,is it,a,,c,<a>\n", TUNE, 2,
     ["f.csv:8: the row has 2 answers; it must have 3", "Correct the row"]),
    (CHOICE, "<head>\nthe dog,is it,a,,c,\n", LABEL, 0, ["rejected .wrong number of answers 1"]),
    (CHOICE, "<head>\n<rows>the dog,is it,a, ,c,<a>\n", MEASURE, 0, ["6 used, 1 rejected .empty"]),
    (CHOICE, "context,answer_0,label\nthe dog,a,0\n", TUNE, 2,
     ["f.csv has the columns .*takes context, question, answer_0, answer_1"]),
    (CHOICE, "context,answer_0,answer_1,label\nthe dog,a,b,0\n", MEASURE, 2,
     ["f.csv:2: the row has 2 answers; it must have 3"]),
    (CHOICE, {"f.jsonl": '<jrows>{"context": "a", "answers": ["a", "b"], "label": 0}\n'},
     "finetune f.jsonl <tune>", 2, ["f.jsonl:7: the row has 2 answers; it must have 3"]),
    (CHOICE, {"f.jsonl": '{"context": "a", "answers": ["a"], "label": 0}\n'},
     "finetune f.jsonl <tune>", 2, [r"f.jsonl:1: the row has 1 answer", "at least two"]),
    (CHOICE, {"f.jsonl": '{"context": "a", "answers": "the dog", "label": 0}\n'},
     "finetune f.jsonl <tune>", 2, ['f.jsonl:1: "answers" must be a list']),
    (CHOICE, {"f.jsonl": '<jrows>{"context": "a", "answers": ["a", 2, "c"], "label": 0}\n'},
     "evaluate model-<kind> f.jsonl", 0, ["6 used, 1 rejected .not text 1"]),
    (CHOICE, {"f.jsonl": '{"context": "a", "answers": [<200>], "label": 0}\n'
              '{"context": "b", "answers": [<200>], "label": 199}\n'},
     "finetune f.jsonl <tune>", 0, ["2 rows from 1 file: 2 used", "199 1"]),
    # Texts that occur more than once
    (ALL, "<head>\n<rows>the dog<m>,<b>\n", TUNE, 0,
     [r"7 used", r"1 with another label \(all are kept\)",
      "f.csv:8 says '<b>', f.csv:2 '<a>': 'the dog'"]),
    (ALL, "<head>\n<rows>the dog<m>,<a>\n", MEASURE, 0,
     ["7 used", "1 row repeats? an earlier one, 0 with another label"]),
    (ALL, "<head>\nthe dog<m>,<a>\nthe  Dog<m>,<b>\n", TUNE, 0, ["2 rows from 1 file: 2 used"]),
    (EITHER, "<head>\n<rows>the cat is a dog,the dog,<b>\n", TUNE, 0,
     ["1 with another label", "f.csv:8 says '<b>', f.csv:2 '<a>'"]),
    (("entailment",), "<head>\n<rows>the cat is a dog,the dog,<b>\n", TUNE, 0, ["no text occurs"]),
    # Rows to validate
    (ALL, {"f.csv": G, "v.csv": "<head>\nthe  Dog<m>,<b>\nand<m>,<a>\n"}, f"{TUNE} --valid v.csv",
     2, [r"1 of 2 rows of v.csv are in f.csv too .v.csv:2.; ", "flatter", "--allow-leakage"]),
    (ALL, {"f.csv": G, "v.csv": "<head>\nthe dog<m>,<b>\nand<m>,<a>\n"},
     f"{TUNE} --valid v.csv --allow-leakage", 0,
     ["v.csv against f.csv: of 2 test rows 1 occur in training", "2 to validate"]),
    (EITHER, {"f.csv": G, "v.csv": "<head>\nthe cat is a dog,the dog,<b>\na,b,<a>\n"},
     f"{TUNE} --valid v.csv", 2, ["1 of 2 rows of v.csv are in f.csv too .v.csv:2"]),
    (ALL, G, f"{TUNE} --valid v.csv", 2, ["there is no file v.csv"]),
    (ALL, {"f.csv": G, "v.csv": "<head>\n"}, f"{TUNE} --valid v.csv", 2, ["v.csv: nothing to use"]),
    (ALL, {"f.csv": G, "v.csv": "a,b\n1,2\n"}, f"{TUNE} --valid v.csv", 2, ["v.csv has the colu"]),
    (CLASSES, {"f.csv": G, "v.csv": "<head>\nand<m>,<a>\nis<m>,odd\n"}, f"{TUNE} --valid v.csv", 2,
     ["v.csv:3: the label is 'odd'; the task's classes are <a>, <b>|<b>, <a>"]),
    (SCORES, {"f.csv": G, "v.csv": "<head>\nand<m>,9\nis<m>,-9\n"}, f"{TUNE} --valid v.csv", 0,
     ["to validate: 2 rows from 1 file: 2 used"]),
    (SCORES, {"f.csv": G, "v.csv": "<head>\nand<m>,9\nis<m>,odd\n"}, f"{TUNE} --valid v.csv", 2,
     ["v.csv:3: the label is 'odd'; it must be a number"]),
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
    (ALL, G, f"{TUNE} --set task.lm_coef=nan", 2, ["task.lm_coef is nan", "finite"]),
    (ALL, G, f"{TUNE} --set train.batch_size=0", 2, ["train.batch_size is 0", "equal to 1"]),
    (ALL, G, f"{TUNE} --steps 0", 2, ["train.steps is 0", "equal to 1"]),
    (ALL, G, f"{TUNE} --limit 0", 2, ["--limit", "x>=1|equal to 1"]),
    (ALL, G, f"{TUNE} --set data.valid_share=1", 2, ["data.valid_share is 1", "equal to 0.5"]),
    (ALL, G, f"{TUNE} --set task.lm_coeff=1", 2, ["task.lm_coeff", "Did you mean 'lm_coef'"]),
    (ALL, G, f"{TUNE} --set model.n_layer=1", 2, ["model.. is given", "keeps the model's shape"]),
    (ALL, G, f"{TUNE} --set task.n_transfer=9", 2, ["n_transfer is 9", "2"]),
    (ALL, G, f"{TUNE} --config none.toml", 2, ["none.toml cannot be read"]),
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
          "lost": ["the head in lost-<kind> does not fit its task", "Restore"],
          "shape": ["head.safetensors holds .*; a head has weight", "Restore"],
          "wide": ["the head in wide-<kind> does not fit its task, which has", "Restore"],
          "other": ["the section task of gpt1.json is not one", "Restore"],
      }.items()),
    (ALL, "<head>\nthe dog<m>,<a>\n", f"{MEASURE} --task <other>", 2,
     ["the task is <other>; the model was fine-tuned on <kind>", "Leave --task out"]),
    (ALL, G, f"{MEASURE} --task <kind>x", 2, ["the task '<kind>x' is not one of", "Did you mean"]),
    (ALL, G, f"{MEASURE} --column <first>", 2, ["--column is for texts", "--columns"]),
    (ALL, G, f"{MEASURE} --split test", 2, ["--split is test; it is of a data set", "Leave it"]),
    (ALL, G, f"{MEASURE} --page page.txt", 2, ["--page is page.txt; .*ends in .html"]),
    # Where the result goes
    (ALL, G, f"{TUNE} --out run-<kind>", 1, ["a run is already in run-<kind>", "--resume"]),
    (ALL, G, f"{TUNE} --out things", 1, ["something is already in things", "--out"]),
    (ALL, G, f"{TUNE} --out f.csv", 1, ["f.csv", "--out"]),
    (ALL, G, f"{TUNE} --resume", 1, ["there is no run to resume in new", "Leave out --resume"]),
    (ALL, "<head>\n<rows>and<m>,<a>\nis a<m>,<b>\n", f"{TUNE} --out run-<kind> --resume", 1,
     ["the run in run-<kind> cannot go on", "the data is another one", "another folder"]),
    (ALL, G, f"{TUNE} --out run-<kind> --resume --set task.lm_coef=0.1", 1,
     ["task.lm_coef was 0.5 and is 0.1", "another folder"]),
    (ALL, G, f"READONLY {TUNE}", 1, ["could not create .*new.*Read-only file system"]),
    (ALL, G, f"READONLY {LABEL} --out new.csv", 1, ["could not write .*new.csv.*Read-only"]),
    (ALL, G, f"{LABEL} --out new.txt", 2, ["--out is new.txt; the file's name ends in .csv"]),
    (ALL, G, f"{LABEL} --out f.csv", 2, ["--out is f.csv, which is the file to read"]),
    (ALL, G, f"{LABEL} --out tiny/config.json/new.csv", 1, ["could not .*tiny/config.json"]),
]  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A line of the table for one kind."""

    kind: str
    files: Mapping[str, str]
    line: str
    code: int
    said: list[str]


def _fill(text: str, kind: str) -> str:
    """Put in what the marks stand for."""
    meaning = COMMON | {name: of[kind] for name, of in MARKS.items()} | {"kind": kind}
    for _ in range(3):  # marks stand for marks
        text = re.sub(r"<(\w+)>", lambda m: meaning.get(m[1], m[0]), text)
    return text


CASES = [
    Case(
        kind,
        {"f.csv": files} if isinstance(files, str) else files,
        _fill(line, kind),
        code,
        [_fill(part, kind) for part in said],
    )
    for kinds, files, line, code, said in COMMANDS
    for kind in kinds
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with models, sound and damaged, and a run of each kind."""
    work = tmp_path_factory.mktemp("work")
    tiny.write_vocabulary(work / "vocabulary")
    words = Tokenizer.load(work / "vocabulary", words="fast")
    folder.save(work / "tiny", tiny.model(), words)
    folder.save(work / "short", tiny.model(n_ctx=8), words)
    shutil.copytree(work / "tiny", work / "flipped")
    _flip(work / "flipped" / "model.safetensors")
    (work / "things").mkdir()
    (work / "things" / "a.txt").write_text("the dog")
    for kind in PAPER_KINDS:
        task, added = worlds.TASKS[kind], Tokenizer.load(work / "vocabulary", words="fast")
        sound = work / f"model-{kind}"
        Predictor(worlds.model(task, added).float(), added, task).save(sound)
        for damage in ("bytes", "gone", "lost", "shape", "wide", "other"):
            _damage(sound, work / f"{damage}-{kind}", damage)
        (work / "f.csv").write_text(_fill(G, kind))
        with contextlib.chdir(work):
            run_gpt1(_fill(f"{TUNE} --out run-{kind}", kind)).check()
    (work / "f.csv").unlink()
    return work


def _damage(sound: Path, target: Path, damage: str) -> None:
    shutil.copytree(sound, target)
    head = target / folder.HEAD
    if damage == "bytes":
        _flip(head)
        return
    if damage == "gone":
        head.unlink()
        return
    (target / storage.MANIFEST).unlink()  # as another tool would have left it
    width = tiny.config().n_embd
    if damage == "lost":
        head.unlink()
    elif damage == "other":
        own = json.loads((target / folder.OWN).read_text())
        (target / folder.OWN).write_text(json.dumps(own | {"task": {"kind": "poetry"}}))
    else:
        shapes = {"shape": (3, width + 1), "wide": (9, width)}[damage]
        parts = {"weight": torch.zeros(shapes), "bias": torch.zeros(shapes[0])}
        head.write_bytes(safetensors.torch.save(parts))


def _flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-9] ^= 4
    file.write_bytes(data)


State = dict[str, tuple[int, int, int]]


def _snapshot(work: Path) -> State:
    """Return what is in a folder: name -> inode, size and time of the last change.

    A run's lock alone may be opened for writing by who looks into it.
    """
    found = {}
    for at, folders, files in os.walk(work):
        for name in files:
            state = os.stat(os.path.join(at, name))
            where = os.path.relpath(os.path.join(at, name), work)
            changed = 0 if name == "lock" else state.st_mtime_ns
            found[where] = (state.st_ino, state.st_size, changed)
        for name in folders:
            found[os.path.relpath(os.path.join(at, name), work)] = (0, 0, 0)
    return found


class ReadOnly(storage.Disk):
    """A disk that nothing can be written to."""

    def make_folder(self, path: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def create(self, path: Path) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(scope="module")
def untouched(place: Path) -> State:
    """The working folder before any case."""
    return _snapshot(place)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    "case", CASES, ids=[f"{i}-{case.kind}-{case.line[:50]}" for i, case in enumerate(CASES)]
)
def test_a_bad_file_option_or_model_is_told_and_harms_nothing(
    case: Case, place: Path, untouched: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, content in case.files.items():
        data = _fill(content, case.kind).encode("utf-8", "surrogateescape")
        (place / name).write_bytes(data)
    before = _snapshot(place)
    if case.line.startswith("READONLY "):
        monkeypatch.setattr(storage.system, "disk", ReadOnly())
    try:
        with contextlib.chdir(place):
            done = run_gpt1(*shlex.split(case.line.removeprefix("READONLY ")))
        after = _snapshot(place)
    finally:
        for name in case.files:
            (place / name).unlink()
        shutil.rmtree(place / "new", ignore_errors=True)
    missing = [part for part in case.said if not re.search(part, done.message)]
    assert (done.code, missing) == (case.code, []), done.message
    if case.code == 0 and case.line.startswith("finetune"):
        assert os.path.join("new", "model", "head.safetensors") in after
        after = {name: state for name, state in after.items() if name.split(os.sep)[0] != "new"}
    elif case.code:
        assert not done.stdout
    assert after == before == untouched | {name: before[name] for name in case.files}


# Python: rows and labels


@dataclass(frozen=True)
class Fit:
    """What an estimator is given: `texts` are the first texts of the rows, the other texts sound.

    Whole: X (or y) as it is. "a" and "b" among the labels are two that the kind may have.
    """

    said: str
    texts: Any = ("the dog", "the cat", "a dog is", "a cat is")
    labels: Any = ("a", "b", "a", "b")
    parameters: Mapping[str, Any] = field(default_factory=dict)
    error: type[Exception] = InputError
    whole: Any = None
    new: bool = False
    """The texts are for predict, after a fit to sound rows."""
    kinds: tuple[str, ...] = ALL


NAN = float("nan")
HARD = ("the dog", "the cat", "a dog is")
FITS = [
    Fit("X is 'the dog'; it must be a list.*Put a single row into a list", whole="the dog"),
    Fit("X is None; it must be a list", whole=None, texts=None),
    Fit("X is 7; it must be a list", whole=7),
    Fit("X is {.*it must be a list", whole={"text": ["the dog"]}),
    Fit("X has no rows; give at least one", whole=[]),
    Fit("X has no rows; give at least one", whole=[], new=True),
    Fit(r"X\[1\].* is 7; it must be a text .str.. Correct", texts=("the dog", 7, "a", "b")),
    Fit(r"X\[2\].* is None; it must be a text", texts=("the dog", "a", None, "b")),
    Fit(r"X\[2\].* is nan; it must be a text", texts=("the dog", "a", NAN, "b")),
    Fit(r"X\[3\].* is b'a cat'; it must be a text", texts=(*HARD, b"a cat")),
    Fit(r"X\[3\].* is '', without a word.*leave it out", texts=(*HARD, "")),
    Fit(r"X\[3\].* is ' ..', without a word", texts=(*HARD, " \n")),
    Fit(r"X\[3\].* with a NUL character", texts=(*HARD, "the\0dog")),
    Fit(r"X\[3\].* with a lone surrogate", texts=(*HARD, "the \ud800")),
    Fit("example 3 is '.x01'; it has no words. Leave", texts=(*HARD, "\x01")),
    Fit(r"X\[0\].* is '', without a word", texts=("",), new=True),
    Fit(r"X\[1\].* is 3.5; it must be a text", texts=("a", 3.5), new=True),
    Fit("it has no words", texts=("\x01",), new=True),
    Fit("X has 4 rows and y 3; give one label for each row", labels=("a", "b", "a")),
    Fit("X has 4 rows and y 5; give one label for each row", labels=("a", "b", "a", "b", "a")),
    Fit("y is None", labels=None),
    Fit("y has no rows", labels=()),
    Fit("y is 'abab'; it must be a list", labels="abab"),
    Fit(r"y\[0\] is \[.*one label", labels=(["a"], ["b"], ["a"], ["b"])),
    Fit(r"y\[1\] is None", labels=("a", None, "a", "b")),
    Fit(r"y\[1\] is nan", labels=("a", NAN, "a", "b")),
    Fit("one class, .*at least two|least two classes", labels=("a",) * 4, kinds=CLASSES),
    Fit(r"y\[2\] is 3, y\[0\] is .*of one type", labels=("a", "b", 3, "b"), kinds=CLASSES),
    Fit(r"y\[1\] is 0.5.*a label is a text, a whole number", labels=(1, 0.5, 1, 2), kinds=CLASSES),
    Fit(r"y\[1\] is inf.*a label is", labels=(1.0, float("inf"), 1.0, 2.0), kinds=CLASSES),
    Fit(r"y\[1\] is ' +'; a label is", labels=("a", "  ", "a", "b"), kinds=CLASSES),
    Fit("all 25 rows have different labels.*free text",
        texts=tuple(f"the dog {i}" for i in range(25)), labels=tuple(range(25)), kinds=CLASSES),
    Fit("^class_weight names 'odd'; the classes are", parameters={"class_weight": {"odd": 2}},
        error=ConfigError, kinds=CLASSES),
    Fit("class_weight is 'even'; it must be None", parameters={"class_weight": "even"},
        error=ConfigError, kinds=CLASSES),
    Fit("scores.*; a regression needs scores that differ", labels=("a",) * 4, kinds=SCORES),
    Fit(r"y\[1\] is 'high'; it must be a finite number", labels=("a", "high", 1, 2), kinds=SCORES),
    Fit(r"y\[1\] is inf; it must be a finite number", labels=(1, float("inf"), 1, 2), kinds=SCORES),
    Fit(r"y\[1\] is True; it must be a finite number", labels=(1, True, 1, 2), kinds=SCORES),
    Fit(r"y\[1\] is 1e\+200; .*between -1e\+30 and 1e\+30", labels=(1, 1e200, -1e200, 2),
        kinds=SCORES),
    Fit(r"y\[1\] is 1000.*finite number|between", labels=(1, 10**400, 1, 2), kinds=SCORES),
    Fit(r"y\[1\] is 5; the scale goes from 0 to 4. Correct it", parameters={"low": 0, "high": 4},
        kinds=SCORES),
    Fit("low is 'none'; it must be a finite number", parameters={"low": "none"}, kinds=SCORES),
    *(Fit(r"y\[1\] is .*; it must be the index of the right answer, 0 to 2",
          labels=("a", odd, "a", "b"), kinds=CHOICE)
      for odd in (-1, 3, 0.5, "a cat", True, 10**400)),
    Fit(r"X\[1\] has 2 answers and X\[0\] 3; all rows must", kinds=CHOICE,
        whole=[("a", ["a", "b", "c"]), ("b", ["a", "b"])], labels=("a", "b")),
    Fit(r"X\[0\] has 1 answer; a choice has at least two", kinds=CHOICE, whole=[("a", ["b"])]),
    Fit(r"X\[0\] has 0 answers; a choice has at least two", kinds=CHOICE, whole=[("a", [])]),
    Fit(r"X\[0\]\[1\] is 'bc'; it must be the list of the answers", kinds=CHOICE,
        whole=[("a", "bc")]),
    Fit(r"X\[0\]\[1\]\[1\] is '', without a word", kinds=CHOICE, whole=[("a", ["b", ""])]),
    Fit(r"X\[0\] has 2 answers; this estimator was fitted to 3", kinds=CHOICE, new=True,
        whole=[("a", ["b", "c"])]),
    Fit(r"X\[0\] is 'the dog'; it must be a pair", whole=["the dog"], kinds=(*PAIRS, "choice")),
    Fit(r"X\[0\] has 3 parts; it must be a pair", whole=[("a", "b", "c")],
        kinds=(*PAIRS, "choice")),
    Fit(r"X\[0\]\[1\] is None; it must be a text", whole=[("a", None)], kinds=PAIRS),
    Fit(r"X\[0\] is \['the dog'\]; it must be a text", whole=[["the dog"]],
        kinds=("classification",)),
    Fit("lm_coef is -1", parameters={"lm_coef": -1}, error=ConfigError),
    Fit("batch_size is 0", parameters={"batch_size": 0}, error=ConfigError),
    Fit("learning_rate is nan", parameters={"learning_rate": NAN}, error=ConfigError),
    Fit("epochs is 0", parameters={"epochs": 0}, error=ConfigError),
    Fit("validation_fraction is 1.5; .*more than 0 and less than 1",
        parameters={"validation_fraction": 1.5}, error=ConfigError),
    Fit("random_state is 'seed'", parameters={"random_state": "seed"}, error=ConfigError),
    Fit("recipe is 'papers'", parameters={"recipe": "papers"}, error=ConfigError),
    Fit("settings is 'a=b'; it must be several strings", parameters={"settings": "a=b"},
        error=ConfigError),
    Fit("unknown setting 'task.odd'", parameters={"settings": ("task.odd=1",)}, error=ConfigError),
    Fit("the model is 'nowhere'", parameters={"model": "nowhere"}, error=GPT1Error),
    Fit("model is 7; it must be a name such as mini", parameters={"model": 7}, error=ConfigError),
    Fit("run is .*run-.* there is a run already", parameters={"run": "<run>"}, error=TrainingError),
]  # fmt: skip
FIT_CASES = [(fit, kind) for fit in FITS for kind in fit.kinds]
ESTIMATORS: dict[str, Any] = {
    "classification": gpt1.TextClassifier,
    "entailment": gpt1.EntailmentClassifier,
    "similarity": gpt1.SimilarityClassifier,
    "regression": gpt1.SimilarityRegressor,
    "choice": gpt1.MultipleChoiceClassifier,
}


def _X(kind: str, texts: Any) -> Any:
    if texts is None or kind == "classification":
        return texts if texts is None else list(texts)
    other: Any = ["the dog", "a cat", "and"] if kind == "choice" else "the cat is a dog"
    return [(text, other) for text in texts]


def _y(kind: str, labels: Any) -> Any:
    if not isinstance(labels, tuple):
        return labels
    names: dict[str, Any] = {name: MARKS[name][kind] for name in "ab"}
    if kind in ("regression", "choice"):
        names = {name: int(value) for name, value in names.items()}

    def one(value: Any) -> Any:
        if isinstance(value, list):
            return [one(item) for item in value]
        return names.get(value, value) if isinstance(value, str) else value

    return [one(value) for value in labels]


@pytest.fixture(scope="module")
def fitted(place: Path) -> dict[str, Any]:
    """Estimators with a model of the three labels or answers of `worlds`."""
    return {kind: ESTIMATORS[kind].load(place / f"model-{kind}") for kind in PAPER_KINDS}


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("fit", "kind"),
    FIT_CASES,
    ids=[f"{i}-{kind}-{fit.said[:40]}" for i, (fit, kind) in enumerate(FIT_CASES)],
)
def test_rows_labels_and_parameters_that_cannot_be_are_told(
    fit: Fit,
    kind: str,
    place: Path,
    untouched: State,
    fitted: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    X = _X(kind, fit.texts) if fit.whole is None else fit.whole
    if fit.new:
        with pytest.raises(fit.error, match=fit.said):
            fitted[kind].predict(X)
        return
    given: dict[str, Any] = {"model": place / "tiny", "run": tmp_path / "run", "verbose": False}
    given |= fit.parameters
    if given["run"] == "<run>":
        given["run"] = place / f"run-{kind}"
    estimator = ESTIMATORS[kind](**given)
    with pytest.raises(fit.error, match=fit.said):
        estimator.fit(X, _y(kind, fit.labels))
    assert not hasattr(estimator, "predictor_")
    assert not list(tmp_path.iterdir())
    assert _snapshot(place) == untouched


@pytest.mark.parametrize("kind", PAPER_KINDS)
def test_an_estimator_is_not_loaded_from_another_kind_or_from_nothing(
    kind: str, place: Path, tmp_path: Path
) -> None:
    other: str = "choice" if kind != "choice" else "similarity"
    cls, right = ESTIMATORS[kind], ESTIMATORS[other].__name__
    said = f"holds a model for {other}; {cls.__name__} is for {kind}. Load it with gpt1.{right}"
    with pytest.raises(CheckpointError, match=said):
        cls.load(place / f"model-{other}")
    with pytest.raises(CheckpointError, match="has no task"):
        cls.load(place / "tiny")
    with pytest.raises(CheckpointError, match=r"head\.safetensors is not what was written"):
        cls.load(place / f"bytes-{kind}")
    with pytest.raises(GPT1Error, match="nowhere"):
        cls.load("nowhere")
    for call in (cls().predict, cls().save):
        with pytest.raises(Exception, match="not fitted"):
            call(tmp_path / "new")
    assert not list(tmp_path.iterdir())


def test_what_is_odd_but_sound_is_taken(place: Path, fitted: dict[str, Any]) -> None:
    for kind in PAPER_KINDS:
        texts = [LONG[:900], "THE  dog", "dog\n\ncat", "é", "the dog" + "!" * 90]
        X = _X(kind, texts)
        found = fitted[kind].set_params(verbose=False).predict(X)
        assert len(found) == 5
        alone = [fitted[kind].predict([row])[0] for row in X]
        if kind == "regression":
            np.testing.assert_allclose(alone, found, rtol=1e-5)
        else:
            np.testing.assert_array_equal(alone, found)


def test_there_are_at_least_thirty_cases_of_every_kind() -> None:
    commands = Counter(case.kind for case in CASES)
    fits = Counter(kind for _, kind in FIT_CASES)
    assert {kind: commands[kind] >= LEAST and fits[kind] >= LEAST for kind in PAPER_KINDS} == (
        dict.fromkeys(PAPER_KINDS, True)
    )
    wrong = Counter(case.kind for case in CASES if case.code)
    assert min(wrong.values()) >= LEAST
    assert len({(case.kind, case.line, str(case.files)) for case in CASES}) == len(CASES)
