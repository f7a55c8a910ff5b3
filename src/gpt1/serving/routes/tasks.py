"""/v1/classify: the answers of models that were fine-tuned on a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Response

from gpt1.errors import InputError, counted
from gpt1.generation.inside import token_text
from gpt1.serving.models import Served
from gpt1.serving.protocol import Refusal
from gpt1.serving.protocol.inside import (
    Classification,
    Classified,
    ClassifyRequest,
    InputSequence,
)
from gpt1.serving.routes import Admitted, ServiceOf
from gpt1.serving.routes.inside import in_parts
from gpt1.tasks.kinds import Task
from gpt1.tasks.kinds.fields import Fields
from gpt1.tasks.predictor import Predictor
from gpt1.tasks.spec import Example
from gpt1.tasks.tables import text_names
from gpt1.tasks.transforms import Special

router = APIRouter()
Row = str | list[str] | dict[str, Any]


@router.post("/v1/classify", response_model=Classification)
async def classify(body: ClassifyRequest, service: ServiceOf, ticket: Admitted) -> Response:
    """Return the answer to each example, and the sequences that the model reads."""
    served = service.find(body.model or _first_with_task(service.models))
    if served.predictor is None:
        raise Refusal(
            400,
            f"{served.name} was not fine-tuned on a task. Serve a model of "
            f"gpt1 finetune --task, and name it.",
            param="model",
        )
    service.check_inputs(served, body.input, "input")
    task = served.predictor.task
    examples = [_example(task, row, i) for i, row in enumerate(body.input)]
    for example in examples:
        service.check_inputs(served, [*example.texts, example.question], "input")
    data = await in_parts(service, ticket, _classify, served, examples)
    answer = Classification(task=task.kind, model=served.name, data=data)
    return Response(answer.model_dump_json(), media_type="application/json")


def _first_with_task(models: Sequence[Served]) -> str | None:
    return next((model.name for model in models if model.predictor is not None), None)


def _example(task: Task, row: Row, number: int) -> Example:
    """Return the example of an input. Raises InputError, DataError."""
    where, names = f"input {number}", text_names(task)
    columns: Mapping[str, Any]
    if isinstance(row, dict):
        columns = row
    else:
        texts = [row] if isinstance(row, str) else row
        if len(texts) != len(names):
            raise InputError(
                f"{where} has {counted(len(texts), 'text')}; a row of this "
                f"{task.kind} has {len(names)} ({', '.join(names)})."
            )
        columns = dict(zip(names, texts, strict=True))
    example = task.read(Fields(columns, {}, where), task.num_texts, labelled=False)
    if isinstance(example, str):
        raise InputError(f"{where} cannot be used: {example}.")
    return example


def _classify(served: Served, examples: Sequence[Example], first: int) -> list[Classified]:
    predictor = served.predictor
    assert predictor is not None
    encoded = [predictor.encode([example]) for example in examples]
    probabilities = predictor.score(predictor.encode(examples))
    label, *_ = predictor.task.answer_fields
    answers = []
    for record, own in zip(predictor.task.records(examples, probabilities), encoded, strict=True):
        answers.append(
            Classified(
                prediction=record["tags"] if "tags" in record else record[label],
                probabilities=record.get("probabilities"),
                tokens=record.get("tokens"),
                spans=record.get("spans"),
                sequences=[
                    _sequence(predictor, own.ids[start : end - 1].tolist())
                    for start, end in zip(own.offsets[:-1], own.offsets[1:], strict=True)
                ],
                truncated=bool(own.truncated),
            )
        )
    return answers


def _sequence(predictor: Predictor, ids: Sequence[int]) -> InputSequence:
    special = Special.of(predictor.tokenizer)
    kinds = {getattr(special, kind): kind for kind in Special._fields}
    return InputSequence(
        tokens=[token_text(predictor.tokenizer, id) for id in ids],
        kinds=[kinds.get(id, "text") for id in ids],
    )
