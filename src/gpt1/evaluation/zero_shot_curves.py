"""Zero-shot scores over pre-training: every snapshot of a run, and figure 2, right, of them."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt1.checkpoint import folder
from gpt1.errors import CheckpointError, ConfigError
from gpt1.evaluation.zero_shot_sets import SETTINGS, Questions, Result, measure
from gpt1.model.device import choose_device
from gpt1.storage import Folder, json_bytes, reading, write_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STEP = re.compile(r"step-(\d+)")
_COLOURS = ("#1f6fb4", "#d9601a", "#2c8a4b", "#a0409a", "#8a6d1f")
_STYLES = ("-", "--", ":", "-.")
_NAMES = {
    "cola": "linguistic acceptability (CoLA)",
    "sst2": "sentiment analysis (SST-2)",
    "race": "question answering (RACE)",
    "dpr": "Winograd schemas (DPR)",
    "wsc273": "Winograd schemas (WSC273)",
}

Progress = Callable[[int, int, str, int, int], None]
"""Takes models done, models in all, the data set's name, its rows done, its rows in all."""


@dataclass(frozen=True)
class Point:
    """What a run had reached after `step` updates."""

    step: int
    results: list[Result]


def models_of_run(run: Path | str) -> dict[int, Path]:
    """Return the model folders a training run has left, by updates, the earliest first.

    Those in RUN/snapshots; without any, those in RUN/checkpoints and RUN/model. Raises
    CheckpointError if there is none.
    """
    run = Path(run)
    found = _numbered(run / "snapshots")
    if not found:
        found = _numbered(run / "checkpoints")
        final = run / "model"
        if final.is_dir():
            found.setdefault(_step(final, max(found, default=1)), final)
    if not found:
        raise CheckpointError(
            f"{run} has neither snapshots nor checkpoints nor a model. Give a run's folder, the "
            f"--out of gpt1 pretrain; --set 'train.snapshots=[0.01,0.1,1.0]' keeps snapshots."
        )
    return dict(sorted(found.items()))


def measure_run(
    run: Path | str,
    sets: Mapping[str, Questions],
    *,
    samples: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Point]:
    """Measure every model of a run (`models_of_run`) on `sets`, one model in memory at a time.

    Raises CheckpointError for a model without a vocabulary, and what `measure` raises.
    """
    places = models_of_run(run)
    points = []
    for number, (step, place) in enumerate(places.items()):
        loaded = folder.load(place)
        if loaded.tokenizer is None:
            raise CheckpointError(
                f"{place} has no vocabulary. Copy the model's vocab.json and merges.txt into it."
            )
        model = folder.build(loaded).to(choose_device("auto"))
        results = measure(
            model,
            loaded.tokenizer,
            sets,
            samples=samples,
            seed=seed,
            progress=_of_model(number, len(places), progress),
        )
        points.append(Point(step, results))
    return points


def write_curves(path: Path | str, curves: Mapping[str, Sequence[Point]]) -> Path:
    """Write the picture of normalised scores over updates, and its numbers beside it as JSON.

    curves: a run's name -> its points; the first run's lines are whole, the next one's dashed.
    Returns the JSON file, of the same name with .json. Raises ConfigError for a name that does not
    end in .png, StorageError.
    """
    path = check_picture(path)
    numbers = path.with_suffix(".json")
    write_file(path, _picture(curves))
    write_file(numbers, json_bytes(as_json(curves)))
    return numbers


def check_picture(path: Path | str) -> Path:
    """Return the path of a picture to write. Raises ConfigError if it does not end in .png."""
    path = Path(path)
    if path.suffix != ".png":
        raise ConfigError(f"the picture is {path}; its name ends in .png. Give such a name.")
    return path


def as_json(curves: Mapping[str, Sequence[Point]]) -> dict[str, Any]:
    """Return all numbers of the curves, and what they are normalised by, as JSON values."""
    used = {result.data for points in curves.values() for p in points for result in p.results}
    return {
        "settings": {name: asdict(SETTINGS[name]) for name in SETTINGS if name in used},
        "runs": {name: [asdict(point) for point in points] for name, points in curves.items()},
    }


def _numbered(place: Path) -> dict[int, Path]:
    if not place.is_dir():
        return {}
    with reading(place):
        names = [(_STEP.fullmatch(one.name), one) for one in place.iterdir() if one.is_dir()]
    return {int(match[1]): one for match, one in names if match}


def _step(place: Path, otherwise: int) -> int:
    """Return how many updates made the model in a folder, as far as it says so."""
    held = Folder(place)
    own = held.json(folder.OWN) if folder.OWN in held else {}
    training = own.get("training") if isinstance(own, dict) else None
    step = training.get("steps") if isinstance(training, dict) else None
    return step if isinstance(step, int) else otherwise


def _of_model(
    number: int, models: int, progress: Progress | None
) -> Callable[[str, int, int], None] | None:
    if progress is None:
        return None
    return lambda name, done, total: progress(number, models, name, done, total)


def _picture(curves: Mapping[str, Sequence[Point]]) -> bytes:
    """Return figure 2, right, as PNG."""
    import matplotlib  # slow to import, and needed only here
    import matplotlib.figure
    from matplotlib.ticker import FuncFormatter

    with matplotlib.rc_context({"font.size": 10, "text.parse_math": False}):
        figure = matplotlib.figure.Figure(figsize=(8, 5), layout="constrained", dpi=150)
        axes = figure.subplots()
        for number, (name, points) in enumerate(curves.items()):
            style = _STYLES[number % len(_STYLES)]
            _lines(axes, points, style, "" if len(curves) == 1 else f"{_printable(name)}: ")
        steps = [point.step for points in curves.values() for point in points]
        if min(steps) > 0:
            axes.set_xscale("log")
        else:  # a model before its first update has no place on a logarithmic axis
            axes.set_xscale("symlog", linthresh=max(1, min([s for s in steps if s > 0] or [1])))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
        for height, text in ((0, "guessing"), (1, "state of the art, 2018")):
            axes.axhline(height, color="#8a8f98", linewidth=0.8)
            axes.annotate(
                text, (1, height), xycoords=("axes fraction", "data"), xytext=(-4, 3),
                textcoords="offset points", ha="right", fontsize=8, color="#6a6f78",
            )  # fmt: skip
        axes.set_xlabel("updates of pre-training")
        axes.set_ylabel("relative score")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        handles, _ = axes.get_legend_handles_labels()
        figure.legend(
            handles=handles, loc="outside lower center", ncols=min(2, len(curves)) or 1,
            fontsize=8, frameon=False, handlelength=3.5,
        )  # fmt: skip
        out = io.BytesIO()
        figure.savefig(out, format="png")
    return out.getvalue()


def _lines(axes: Axes, points: Sequence[Point], style: str, prefix: str) -> None:
    names = list(dict.fromkeys(result.data for point in points for result in point.results))
    for name in names:
        colour = _COLOURS[list(SETTINGS).index(name) % len(_COLOURS)]
        found = [(p.step, r) for p in points for r in p.results if r.data == name]
        steps = [step for step, _ in found]
        axes.plot(
            steps,
            [result.normalised for _, result in found],
            color=colour,
            linestyle=style,
            marker="o",
            markersize=3.5,
            markerfacecolor=colour if style == _STYLES[0] else "white",
            label=f"{prefix}{_NAMES.get(name, name)}",
        )
        if not prefix:  # intervals of two runs over one another could not be read
            ends = [[SETTINGS[name].normalised(end) for end in (r.low, r.high)] for _, r in found]
            low, high = zip(*ends, strict=True)
            axes.fill_between(steps, low, high, color=colour, alpha=0.06, linewidth=0)


def _printable(name: str) -> str:
    """Return a name that matplotlib can draw: no half surrogate pair, no _ at its beginning."""
    name = name.encode(errors="replace").decode()
    return f" {name}" if name.startswith("_") else name
