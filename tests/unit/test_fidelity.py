"""docs/fidelity.md and docs/tour.md name only what is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "gpt1"
FIDELITY = (ROOT / "docs" / "fidelity.md").read_text("utf-8")
REFERENCES = sorted(set(re.findall(r"`([\w/]+\.py)::([\w.]+)`", FIDELITY)))


def names(tree: ast.Module | ast.ClassDef) -> dict[str, ast.AST]:
    """Return what a module or a class defines, by name."""
    found: dict[str, ast.AST] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign):
            found |= {name.id: node for name in node.targets if isinstance(name, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = node
    return found


def test_the_page_refers_to_much_of_the_code() -> None:
    assert len(REFERENCES) >= 50
    assert FIDELITY.count(".py::") == len(re.findall(r"`[\w/]+\.py::[\w.]+`", FIDELITY))


@pytest.mark.parametrize(("path", "name"), REFERENCES, ids=lambda part: str(part))
def test_every_place_that_the_page_names_is_there(path: str, name: str) -> None:
    node: ast.AST = ast.parse((SOURCE / path).read_text("utf-8"))
    for part in name.split("."):
        assert isinstance(node, ast.Module | ast.ClassDef), f"{name} of {path} is no class"
        assert part in names(node), f"{path} has no {name}"
        node = names(node)[part]


def test_every_setting_that_the_page_names_is_there() -> None:
    from gpt1.config import RunConfig

    fields = RunConfig.model_fields
    named = re.findall(r"`((?:model|optimizer|schedule|data|train|task)\.\w+)[=` ]", FIDELITY)
    assert len(named) >= 10
    for setting in named:
        section, _, field = setting.partition(".")
        assert field in fields[section].annotation.model_fields, setting


def test_the_recipes_hold_what_the_table_of_defects_says() -> None:
    from gpt1.config import load_run

    article, jokes = load_run(recipe="article"), load_run(recipe="jokes")
    assert (article.schedule.total_steps, jokes.schedule.total_steps) == (-1, None)
    assert (article.schedule.warmup_steps, article.schedule.warmup_share) == (5000, 1)
    assert (jokes.schedule.warmup_steps, jokes.schedule.warmup_share) == (None, 0.1)
    assert (article.schedule.count_from, jokes.schedule.count_from) == (0, 1)
    assert (article.data.pack, jokes.data.pack) == ("article", "documents")
    assert (article.data.end, jokes.data.end) == ("text", "token")
    assert (article.data.words, jokes.data.words) == ("fast", None)
    assert (article.data.valid_share, jokes.data.valid_share) == (0, 0.05)
    assert (article.train.loss, jokes.train.loss) == ("pack_sum", "token_mean")
    assert (article.optimizer.max_grad_norm, jokes.optimizer.max_grad_norm) == (None, 1)
    assert (article.optimizer.eps, article.optimizer.weight_decay) == (1e-6, 0)
    assert (jokes.optimizer.lr, jokes.train.batch_size, jokes.train.epochs) == (6.25e-5, 4, 3)


def test_the_tour_visits_every_file() -> None:
    tour = (ROOT / "docs" / "tour.md").read_text("utf-8")
    files = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if not path.name.startswith("__") or path.parent.name in ("gpt1", "cli")
    }
    named = set(re.findall(r"`([\w/]+\.py)`", tour))
    assert files - named == {"_version.py"}
    assert all((SOURCE / name).exists() or (ROOT / name).exists() for name in named)
