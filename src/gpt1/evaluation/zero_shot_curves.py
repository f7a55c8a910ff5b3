"""Zero-shot scores over pre-training: every snapshot of a run, as tables and as figure 2, right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gpt1.callbacks import ProgressCallback
from gpt1.checkpoint.folder import OWN
from gpt1.errors import CheckpointError
from gpt1.evaluation.zero_shot_sets import SETTINGS, Questions, ZeroShotResult, measure
from gpt1.pipeline import load
from gpt1.reports.charts import draw_png
from gpt1.reports.formatting import format_interval, format_percent
from gpt1.reports.history import read_end
from gpt1.reports.sections import Curve, Level, LineChart, Section, Table
from gpt1.storage import Folder

_STYLES: Any = ("solid", "dashed", "dotted", "dashdot")


@dataclass(frozen=True)
class Point:
    """The results of a run's model after `step` updates."""

    step: int
    results: list[ZeroShotResult]


def models_of_run(run: Path | str) -> dict[int, Path]:
    """Return the model folders of a training run by their updates, the earliest first.

    Those in RUN/snapshots; without any, those in RUN/checkpoints and RUN/model. Raises
    CheckpointError if there is none.
    """
    run = Path(run)
    models = _step_folders(run / "snapshots")
    if not models:
        models = _step_folders(run / "checkpoints")
        if (run / "model").is_dir():
            steps = read_end(run / "model").steps if OWN in Folder(run / "model") else None
            models[max(models, default=1) if steps is None else steps] = run / "model"
    if not models:
        raise CheckpointError(
            f"{run} has neither snapshots nor checkpoints nor a model. Give a run's folder, the "
            f"--out of gpt1 pretrain; --set 'train.snapshots=[0.01,0.1,1.0]' keeps snapshots."
        )
    return dict(sorted(models.items()))


def _step_folders(path: Path) -> dict[int, Path]:
    steps = [(step.name.removeprefix("step-"), step) for step in path.glob("step-*")]
    return {int(number): step for number, step in steps if number.isdecimal()}


def measure_run(
    run: Path | str, sets: Mapping[str, Questions], *, progress: ProgressCallback | None = None
) -> list[Point]:
    """Measure every model of a run (`models_of_run`) on `sets`, one model in memory at a time.

    `progress` counts the rows of all models. Raises CheckpointError for a model without a
    vocabulary, and what `measure` raises.
    """
    models = models_of_run(run)
    points = []
    for number, (step, path) in enumerate(models.items()):

        def report(done: int, rows: int, number: int = number) -> None:
            if progress is not None:
                progress(number * rows + done, len(models) * rows)

        gpt = load(path)
        points.append(Point(step, measure(gpt.model, gpt.tokenizer, sets, progress=report)))
    return points


def as_json(curves: Mapping[str, Sequence[Point]]) -> dict[str, Any]:
    """Return the results of runs, and what they are normalised by, as JSON values."""
    used = {result.data for points in curves.values() for p in points for result in p.results}
    return {
        "settings": {name: asdict(SETTINGS[name]) for name in SETTINGS if name in used},
        "runs": {name: [asdict(point) for point in points] for name, points in curves.items()},
    }


def curve_tables(
    name: str, points: Sequence[Point], columns: Sequence[str], *, intervals: bool = False
) -> tuple[Section, Section]:
    """Return the values, in percent, and the normalised scores of a run's models.

    columns: the headings of the data sets. `intervals`: add those of the values.
    """
    values, relative = [], []
    for point in points:
        cells = [format_percent(r.value) for r in point.results]
        if intervals:
            cells = [format_interval(r.value, r.low, r.high) for r in point.results]
        values.append([f"{point.step:,}", *cells])
        relative.append([f"{point.step:,}", *(f"{r.normalised:.2f}" for r in point.results)])
    columns = ("updates", *columns)
    note = "0 is guessing, 1 the state of the art of the paper's time."
    return (
        Section(f"{name}: values", Table(columns, values), _notes(points)),
        Section(f"{name}: relative scores", Table(columns, relative), note),
    )


def _notes(points: Sequence[Point]) -> str:
    """Return which values are no finding, and which would differ by sums."""
    notes = []
    for results in zip(*(point.results for point in points), strict=True):
        data, steps = results[0].data, [point.step for point in points]
        if same := [f"{n:,}" for n, r in zip(steps, results, strict=True) if r.note]:
            notes.append(f"{data}: one answer for all rows, no finding, after {', '.join(same)}.")
        if any(r.by_sums is not None for r in results):
            sums = ", ".join(format_percent(r.by_sums or 0) for r in results)
            notes.append(f"{data} by sums instead of means: {sums}.")
    return " ".join(notes)


def draw_curves(curves: Mapping[str, Sequence[Point]]) -> bytes:
    """Return figure 2, right, as PNG; the first run's lines are solid, the next one's dashed."""
    lines = []
    for number, (name, points) in enumerate(curves.items()):
        prefix = "" if len(curves) == 1 else f"{name}: "
        steps = [point.step for point in points]
        for results in zip(*(point.results for point in points), strict=True):
            setting = SETTINGS[results[0].data]
            low = [setting.normalised(result.low) for result in results]
            high = [setting.normalised(result.high) for result in results]
            line = Curve(
                f"{prefix}{setting.title}",
                steps,
                [result.normalised for result in results],
                color=list(SETTINGS).index(results[0].data),
                style=_STYLES[number % len(_STYLES)],
                marker=True,
                band=None if prefix else (low, high),  # the bands of two runs would overlap
            )
            lines.append(line)
    levels = [Level(0, "guessing"), Level(1, "state of the art, 2018")]
    axes = "updates of pre-training", "relative score"
    return draw_png(LineChart("", *axes, lines, levels=levels, log_x=True), size=(8, 5))
