"""An evaluation as one page: figures, confusions, calibration or scatter, and the worst errors.

The page holds all it needs: no script, no font and no picture from elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from string import Template

import numpy as np

from gpt1 import storage
from gpt1._version import __version__
from gpt1.evaluation.tasks import Mistake, TaskEvaluation, class_names
from gpt1.tasks.spec import Kind

_MATRIX = 20  # classes; with more, the most frequent confusions are listed
_PAIRS = 30
_POINTS = 1500  # of a scatter
_TEXT = 600  # characters of an error's text
_SIDE, _EDGE = 320, 34  # of a picture, in its own units


def write_page(path: Path | str, title: str, found: TaskEvaluation, account: str = "") -> None:
    """Write an evaluation's page. `account`: what became of the rows. Raises StorageError."""
    storage.write_file(path, page(title, found, account))


def page(title: str, found: TaskEvaluation, account: str = "") -> bytes:
    """Return the page; every text in it is escaped."""
    about = [account] if account else []
    about.append(
        f"{found.rows:,} rows measured, {found.cut:,} of them longer than the model's window and "
        f"cut. The intervals hold 95 % of 1,000 resamplings of the rows. Whether training held "
        f"some of these rows is not known here. gpt1 {__version__}."
    )
    parts = [
        f"<h1>{escape(title)}</h1>",
        *(f"<p>{escape(line)}</p>" for line in about),
        _facts(found),
    ]
    if found.task.kind == "regression":
        parts += ["<h2>Scores</h2>", _scatter(found), "<h2>Largest errors</h2>"]
    else:
        parts += [
            "<h2>Confusions</h2>",
            _confusions(found),
            '<div class="side"><div><h2>Per class</h2>',
            _classes(found),
            "</div><div><h2>How sure, and how often right</h2>",
            _reliability(found),
            "</div></div>",
            "<h2>Most confident errors</h2>",
            f"<p>{len(found.errors):,} of {found.wrong:,} rows with a wrong label, the surest "
            f"first. Often the given label is what is wrong: look at these first.</p>",
        ]
    parts.append(_errors(found.task.kind, found.errors))
    template = resources.files("gpt1.evaluation") / "task_page.html"
    text = Template(template.read_text("utf-8")).substitute(
        title=escape(title), body="\n".join(parts)
    )
    return text.encode(errors="replace")  # half a surrogate pair cannot be written


def _facts(found: TaskEvaluation) -> str:
    cards = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{value}"
        + (f"<small>{interval}</small>" if interval else "")
        + "</dd></div>"
        for name, value, interval in found.figures()
    )
    return f'<dl class="facts">{cards}</dl>'


def _confusions(found: TaskEvaluation) -> str:
    names, counts = class_names(found.task), np.array(found.confusion)
    if len(names) > _MATRIX:
        wrong = counts * (1 - np.eye(len(names), dtype=np.int64))
        order = np.argsort(-wrong, axis=None, kind="stable")[:_PAIRS].tolist()
        pairs = [divmod(i, len(names)) for i in order]
        rows = [(names[g], names[p], f"{wrong[g, p]:,}") for g, p in pairs if wrong[g, p]]
        return f"<p>The most frequent of {len(names)} classes.</p>" + _table(
            ("right", "predicted", "rows"), rows, "classes"
        )
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    lines = [f"<tr><th>right &#8595; predicted &#8594;</th>{head}</tr>"]
    for i, name in enumerate(names):
        total = max(1, int(counts[i].sum()))
        cells = "".join(
            f'<td class="{"hit" if i == j else "miss"}" style="--share:{0.75 * n / total:.3f}" '
            f'title="{n / total:.1%}">{n:,}</td>'
            for j, n in enumerate(counts[i].tolist())
        )
        lines.append(f"<tr><th>{escape(name)}</th>{cells}</tr>")
    table = "\n".join(lines)
    return (
        "<p>A row for each right label, a column for each predicted one; blue is right, red wrong, "
        "the darker the larger the share of its row.</p>"
        f'<div class="scroll"><table class="matrix">{table}</table></div>'
    )


def _classes(found: TaskEvaluation) -> str:
    rows = [
        (
            one.name,
            f"{one.rows:,}",
            f"{one.predicted:,}",
            "-" if one.precision is None else f"{one.precision:.3f}",
            "-" if one.recall is None else f"{one.recall:.3f}",
        )
        for one in found.classes
    ]
    table = _table(("", "rows", "predicted", "precision", "recall"), rows, "classes")
    return f'<div class="scroll">{table}</div>'


def _reliability(found: TaskEvaluation) -> str:
    """Return a picture of confidence against accuracy; on the dashed line both are equal."""
    parts = _axes(("0", "1"), ("0", "1"))
    parts.append(f'<path class="even" d="M{_x(0)} {_y(0)}L{_x(1)} {_y(1)}"/>')
    for one in found.bins:
        about = f"{one.rows:,} rows, sure {one.confidence:.2f}, right {one.accuracy:.2f}"
        top, width = _y(one.accuracy), _x(one.high) - _x(one.low) - 2
        parts.append(
            f'<rect class="bar" x="{_x(one.low) + 1:.1f}" y="{top:.1f}" width="{width:.1f}" '
            f'height="{max(_y(0) - top, 1):.1f}"><title>{about}</title></rect>'
        )
    return _figure(
        parts,
        "probability of the predicted label",
        "share that is right",
        "Bars below the dashed line: surer than it should be. Calibration error: the mean distance "
        "from the line.",
    )


def _scatter(found: TaskEvaluation) -> str:
    """Return a picture of gold against predicted scores, at most some hundred points."""
    both = np.concatenate([found.gold, found.predicted])
    low, high = float(both.min()), float(both.max())
    span = high - low or 1.0
    chosen = np.arange(len(found.gold))
    if len(chosen) > _POINTS:
        chosen = np.sort(np.random.default_rng(0).permutation(len(chosen))[:_POINTS])
    ends = (f"{low:g}", f"{high:g}")
    parts = _axes(ends, ends)
    parts.append(f'<path class="even" d="M{_x(0)} {_y(0)}L{_x(1)} {_y(1)}"/>')
    for gold, predicted in zip(found.gold[chosen], found.predicted[chosen], strict=True):
        x, y = _x((gold - low) / span), _y((predicted - low) / span)
        parts.append(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3"/>')
    shown = "" if len(chosen) == found.rows else f" {len(chosen):,} of {found.rows:,} rows."
    return _figure(
        parts,
        "right score",
        "predicted score",
        f"A dot for each row; on the dashed line both are equal.{shown}",
    )


def _x(share: float) -> float:
    return _EDGE + share * (_SIDE - 2 * _EDGE)


def _y(share: float) -> float:
    return _SIDE - _EDGE - share * (_SIDE - 2 * _EDGE)


def _axes(x: tuple[str, str], y: tuple[str, str]) -> list[str]:
    parts = [f'<path class="axis" d="M{_x(0)} {_y(1)}V{_y(0)}H{_x(1)}"/>']
    for share, one, other in zip((0, 1), x, y, strict=True):
        below = _y(0) + 14
        parts.append(f'<text x="{_x(share)}" y="{below}" text-anchor="middle">{one}</text>')
        beside = _x(0) - 5
        parts.append(f'<text x="{beside}" y="{_y(share) + 4}" text-anchor="end">{other}</text>')
    return parts


def _figure(parts: Iterable[str], x: str, y: str, caption: str) -> str:
    middle = _SIDE / 2
    return (
        f'<figure><svg viewBox="0 0 {_SIDE} {_SIDE}" role="img" aria-label="{y} against {x}">'
        + "".join(parts)
        + f'<text x="{middle}" y="{_SIDE - 4}" text-anchor="middle">{x}</text>'
        + f'<text transform="translate(10 {middle}) rotate(-90)" text-anchor="middle">{y}</text>'
        + f"</svg><figcaption>{caption}</figcaption></figure>"
    )


def _errors(kind: Kind, errors: Sequence[Mistake]) -> str:
    if not errors:
        return "<p>None: every row is right.</p>"
    names = [f"<b>{name}</b> " * bool(name) for name in _parts(kind)]
    head = ("row", "right", "predicted", *(["sure"] * (kind != "regression")), "text")
    lines = [f"<tr>{''.join(f'<th>{name}</th>' for name in head)}</tr>"]
    for one in errors:
        texts = []
        for i, text in enumerate(one.texts):
            name = names[i] if i < len(names) else f"<b>answer_{i - 1}</b> "
            texts.append(f"{name}{escape(_short(text))}")
            if i == 0 and one.question:
                texts.append(f"<b>question</b> {escape(_short(one.question))}")
        where = _place(one)
        sure = "" if one.confidence is None else f"<td>{one.confidence:.3f}</td>"
        lines.append(
            f"<tr><td>{escape(where)}</td><td>{escape(one.gold)}</td>"
            f"<td>{escape(one.predicted)}</td>{sure}<td>{'<br>'.join(texts)}</td></tr>"
        )
    table = "\n".join(lines)
    return f'<div class="scroll"><table class="errors">{table}</table></div>'


def _parts(kind: Kind) -> tuple[str, ...]:
    """Return what the texts of an example are called; a single one needs no name."""
    if kind == "classification":
        return ("",)
    if kind == "choice":
        return ("context",)
    return ("premise", "hypothesis") if kind == "entailment" else ("text_a", "text_b")


def _place(one: Mistake) -> str:
    """Return the file's name and line, without the folders."""
    name, colon, line = one.place.rpartition(":")
    return f"{Path(name).name}{colon}{line}" if one.place else f"{one.row + 1}"


def _short(text: str) -> str:
    return text if len(text) <= _TEXT else f"{text[:_TEXT]} ..."


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], kind: str) -> str:
    lines = [f"<tr>{''.join(f'<th>{escape(text)}</th>' for text in head)}</tr>"]
    lines += [f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>" for row in rows]
    table = "\n".join(lines)
    return f'<table class="{kind}">{table}</table>'
