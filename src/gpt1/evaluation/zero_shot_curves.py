"""Zero-shot scores over pre-training: every snapshot of a run, and figure 2, right, of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gpt1.callbacks import ProgressCallback
from gpt1.checkpoint import folder
from gpt1.errors import CheckpointError, ConfigError
from gpt1.evaluation.zero_shot_sets import SETTINGS, Questions, ZeroShotResult, measure
from gpt1.model.device import choose_device
from gpt1.reports.charts import draw_png
from gpt1.reports.sections import ABSENT, Curve, Level, LineChart, Section, Table
from gpt1.storage import Folder, json_bytes, wrap_os_errors, write_file

_STEP = re.compile(r"step-(\d+)")
_STYLES: Any = ("solid", "dashed", "dotted", "dashdot")
_NAMES = {
    "cola": "linguistic acceptability (CoLA)",
    "sst2": "sentiment analysis (SST-2)",
    "race": "question answering (RACE)",
    "dpr": "Winograd schemas (DPR)",
    "wsc273": "Winograd schemas (WSC273)",
}


@dataclass(frozen=True)
class Point:
    """What a run had reached after `step` updates."""

    step: int
    results: list[ZeroShotResult]


def models_of_run(run: Path | str) -> dict[int, Path]:
    """Return the model folders a training run has left, by updates, the earliest first.

    Those in RUN/snapshots; without any, those in RUN/checkpoints and RUN/model. Raises
    CheckpointError if there is none.
    """
    run = Path(run)
    models = _numbered(run / "snapshots")
    if not models:
        models = _numbered(run / "checkpoints")
        final = run / "model"
        if final.is_dir():
            models.setdefault(_step(final, max(models, default=1)), final)
    if not models:
        raise CheckpointError(
            f"{run} has neither snapshots nor checkpoints nor a model. Give a run's folder, the "
            f"--out of gpt1 pretrain; --set 'train.snapshots=[0.01,0.1,1.0]' keeps snapshots."
        )
    return dict(sorted(models.items()))


def measure_run(
    run: Path | str, sets: Mapping[str, Questions], *, progress: ProgressCallback | None = None
) -> list[Point]:
    """Measure every model of a run (`models_of_run`) on `sets`, one model in memory at a time.

    `progress` counts the rows that all models are measured on. Raises CheckpointError for a model
    without a vocabulary, and what `measure` raises.
    """
    models = models_of_run(run)
    points = []
    for number, (step, path) in enumerate(models.items()):
        loaded = folder.load(path)
        if loaded.tokenizer is None:
            raise CheckpointError(
                f"{path} has no vocabulary. Copy the model's vocab.json and merges.txt into it."
            )

        def report(done: int, rows: int, number: int = number) -> None:
            if progress is not None:
                progress(number * rows + done, len(models) * rows)

        model = folder.build(loaded).to(choose_device("auto"))
        points.append(Point(step, measure(model, loaded.tokenizer, sets, progress=report)))
    return points


def write_curves(path: Path | str, curves: Mapping[str, Sequence[Point]]) -> Path:
    """Write the picture of normalised scores over updates, and its numbers beside it as JSON.

    curves: a run's name -> its points. Returns the JSON file, of the same name with .json. Raises
    ConfigError for a name that does not end in .png, StorageError.
    """
    path = check_picture(path)
    numbers = path.with_suffix(".json")
    write_file(path, draw_curves(curves))
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


def curve_tables(
    name: str, points: Sequence[Point], columns: Mapping[str, str], *, intervals: bool = False
) -> tuple[Section, Section]:
    """Return the values, in percent, and the normalised scores of a run's models.

    columns: data sets -> what their columns are called. `intervals`: with the values.
    """
    values, relative = [], []
    for point in points:
        by_set = {result.data: result for result in point.results}
        results = [by_set.get(data) for data in columns]
        step = f"{point.step:,}"
        values.append([step, *(ABSENT if r is None else _value(r, intervals) for r in results)])
        relative.append([step, *(ABSENT if r is None else f"{r.normalised:.2f}" for r in results)])
    names = ("updates", *columns.values())
    return (
        Section(f"{name}: values", Table(names, values)),
        Section(
            f"{name}: relative scores",
            Table(names, relative),
            note="0 is guessing, 1 the state of the art of the paper's time.",
        ),
    )


def draw_curves(curves: Mapping[str, Sequence[Point]]) -> bytes:
    """Return figure 2, right, as PNG; the first run's lines are solid, the next one's dashed."""
    lines = []
    for number, (name, points) in enumerate(curves.items()):
        prefix = "" if len(curves) == 1 else f"{name}: "
        style = _STYLES[number % len(_STYLES)]
        for data in dict.fromkeys(r.data for point in points for r in point.results):
            lines.append(_curve(data, points, prefix, style))
    levels = [Level(0, "guessing", inline=True), Level(1, "state of the art, 2018", inline=True)]
    chart = LineChart(
        "", "updates of pre-training", "relative score", lines,
        levels=levels, log_x=True, legend="below",
    )  # fmt: skip
    return draw_png(chart, size=(8, 5))


def _curve(data: str, points: Sequence[Point], prefix: str, style: Any) -> Curve:
    results = [(p.step, r) for p in points for r in p.results if r.data == data]
    normalised = SETTINGS[data].normalised
    band = ([normalised(r.low) for _, r in results], [normalised(r.high) for _, r in results])
    return Curve(
        f"{prefix}{_NAMES[data]}",
        [step for step, _ in results],
        [result.normalised for _, result in results],
        color=list(SETTINGS).index(data),
        style=style,
        marker=True,
        band=None if prefix else band,  # those of two runs over one another could not be read
    )


def _value(result: ZeroShotResult, interval: bool) -> str:
    value = f"{100 * result.value:.1f}"
    if not interval:
        return value
    return f"{value} ({100 * result.low:.1f} to {100 * result.high:.1f})"


def _numbered(path: Path) -> dict[int, Path]:
    if not path.is_dir():
        return {}
    with wrap_os_errors("read", path):
        names = [(_STEP.fullmatch(entry.name), entry) for entry in path.iterdir() if entry.is_dir()]
    return {int(match[1]): entry for match, entry in names if match}


def _step(path: Path, otherwise: int) -> int:
    """Return how many updates made the model in a folder, as far as it says so."""
    files = Folder(path)
    own = files.json(folder.OWN) if folder.OWN in files else {}
    training = own.get("training") if isinstance(own, dict) else None
    step = training.get("steps") if isinstance(training, dict) else None
    return step if isinstance(step, int) else otherwise
