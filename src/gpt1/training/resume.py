"""How a run is resumed: the command it was started by, and which settings may change."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpt1 import storage
from gpt1.checkpoint import hub
from gpt1.config import RunConfig
from gpt1.errors import CorruptError, TrainingError, counted
from gpt1.presets import read_toml
from gpt1.training import schedules

if TYPE_CHECKING:
    from gpt1.training.run import Run

FREE_SETTINGS = {
    *(("train", name) for name in ("save_every", "keep_checkpoints", "log_every", "device")),
    *(("train", name) for name in ("snapshots", "compile", "tensorboard")),
    ("distributed", "strategy"),
}
"""(section, field) of settings that do not change what is learned."""
LENGTH_SETTINGS = {("train", "steps"), ("schedule", "decay_share")}
"""May change as well under warmup_stable_decay, if the updates made so far keep their rates."""
LONGER = {("train", "steps"), ("train", "epochs")}
"""May change once a run is finished."""
_PATHS = ("files", "data", "valid", "model")
_SETTINGS = ("size", "recipe", "config")


def command_record(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return a command as JSON values that mean the same in any folder, for run.json.

    Paths become absolute, and settings in a .toml file become the settings themselves.
    """
    record = {n: _plain(n, v) for n, v in arguments.items() if n not in ("out", "resume")}
    return {"name": name, "arguments": record}


def read_command(run: Path, **length: float | None) -> tuple[str, dict[str, Any]]:
    """Return the command that started a run and its arguments, with the run's present length.

    `length` is a new one, epochs or steps. Raises TrainingError, CorruptError.
    """
    record = run / "run.json"
    if not record.is_file():
        raise TrainingError(f"there is no run in {run}. Give the folder that was --out.")
    try:
        content = storage.read_record(record)
        command = content.get("command")
        if command is not None and "." not in command["name"]:  # a method had texts, not files
            arguments = dict(command["arguments"])
            lengths = [
                (n, pair[1])
                for c in content.get("changes", ())
                for n, pair in c["settings"].items()
            ]
            for name, value in length.items():
                if value is not None:
                    lengths += [("train.steps", None), (f"train.{name}", value)]
            if lengths:  # --steps and --epochs would overrule them
                first = [(f"train.{n}", arguments.pop(n, None)) for n in ("steps", "epochs")]
                lengths = [first[0], *first[1:][first[1][1] is None :], *lengths]
            changes = [f"{name}={'none' if v is None else f'{v:g}'}" for name, v in lengths]
            arguments["set_"] = [*(arguments.get("set_") or ()), *changes]
            return str(command["name"]), arguments
    except (ValueError, KeyError, TypeError, AttributeError):
        raise CorruptError(f"{record} is damaged. Restore it from a copy.") from None
    raise TrainingError(
        f"{record} does not say which command started the run: it was started from Python, or by "
        f"an earlier gpt1. Repeat the call of finetune with resume=True, or the command with "
        f"--resume; a fit of an estimator cannot be resumed."
    )


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(name, item) for item in value]
    if name in _SETTINGS and value is not None and str(value).endswith(".toml"):
        return read_toml(Path(value))
    if name in _PATHS and value is not None and not (name == "model" and hub.is_packaged(value)):
        path = Path(value).expanduser()
        return str(path.resolve() if path.exists() else value)
    return str(value) if isinstance(value, Path) else value


def new_lengths(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the settings of a run's length that differ, each with its two values."""
    values = {
        f"{section}.{name}": [
            record["config"].get(section, {}).get(name) for record in (before, now)
        ]
        for section, name in sorted(LENGTH_SETTINGS | LONGER)
    }
    return {name: pair for name, pair in values.items() if pair[0] != pair[1]}


def find_differences(
    before: Mapping[str, Any], now: Mapping[str, Any], done: int, *, finished: bool = False
) -> list[str]:
    """Return what keeps a run from being resumed, a phrase for each difference.

    `before` and `now` are contents of run.json; `done` is the number of updates made; a `finished`
    run may have another length. Raises KeyError, TypeError, ValueError or AttributeError if
    `before` is damaged.
    """
    old, new = before["config"], now["config"]
    free = FREE_SETTINGS | (LONGER if finished else set())
    free |= LENGTH_SETTINGS if _same_rates(old, new, done) else set()
    settings = [
        f"{section}.{name} was {value!r} and is {new.get(section, {}).get(name)!r}"
        for section, fields in old.items()
        for name, value in fields.items()
        if new.get(section, {}).get(name) != value and (section, name) not in free
    ]
    fingerprints = [
        f"the {name} is another one"
        for name, value in now["fingerprints"].items()
        if before["fingerprints"].get(name) != value
    ]
    return settings + fingerprints


def find_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return how the machine of a resumed run differs from the one before, for people."""
    changes = [
        f"{name} was {before[name]} and is {now[name]}"
        for name in ("threads", "torch", "system")
        if name in before and before[name] != now[name]
    ]
    if not changes:
        return []
    ending = "the run goes on, but not bit for bit as it would have"
    if "threads" in changes[0]:
        ending += f" (OMP_NUM_THREADS={before['threads']} gives as many threads as before)"
    return [f"{'; '.join(changes)}: {ending}"]


def _same_rates(before: Mapping[str, Any], now: Mapping[str, Any], done: int) -> bool:
    """Tell whether the first `done` updates have the same rates in a run of another length."""
    if now["schedule"]["name"] != "warmup_stable_decay":
        return False
    old, new = RunConfig.model_validate(before), RunConfig.model_validate(now)
    if not old.train.steps or not new.train.steps or new.train.steps < done:
        return False
    return schedules.same_start(old.schedule, old.train.steps, new.schedule, new.train.steps, done)


def reopen(run: Run, steps: int) -> str:
    """Let a finished run go on if it is to be longer; return what to say about it.

    The model that it ended with becomes a snapshot, and the best one so far. Raises TrainingError.
    """
    if not run.finished or run.changed is None:
        return ""
    done, model = run.done, run.path / "model"
    if not done or steps < done:
        what = f"has made {counted(done, 'update')}" if done else "has no checkpoint left"
        raise TrainingError(
            f"the run in {run.path} {what}, so it cannot go on to "
            f"{counted(steps, 'update')}. Ask for more, or start a new run with --model {run.path}."
        )
    source = storage.Folder(model)
    files = {name: source.read(name) for name in source.names() if name != storage.MANIFEST}
    snapshot = run.path / "snapshots" / f"step-{done:08d}"
    if not snapshot.is_dir():
        storage.write_folder(snapshot, files)
    if run.fingerprints.get("validation") and run.config.train.keep_best:
        storage.write_folder(run.path / "best", files, replace=True)
    storage.remove(model)
    storage.write_record(run.record, run.changed)
    return (
        f"the finished run goes on after update {done:,}, at the learning rates of its new length; "
        f"the model so far is kept in {snapshot}"
    )
