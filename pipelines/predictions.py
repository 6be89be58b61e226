"""The one shape of predictions in all tasks, as a JSON schema: what each task answers is told in the types of its
module `answers`. Imports no TensorFlow."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from pipelines import registry

Probability = Annotated[float, Field(ge=0, le=1)]


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(description="Of the input: its path, its file and line, the name it was given.")


class Answer(_Line):
    """A prediction as a JSON line. What a field's default says is left out of the line."""

    target: Any = Field(None, description="The truth, in a run's predictions.jsonl only.")


class Refusal(_Line):
    """An input that was not answered."""

    error: str = Field(min_length=1, description="Why not.")
    target: Any = Field(None, description="The truth, in a run's predictions.jsonl only.")


class Row(_Line):
    """A row of predict's CSV; of an input that was not answered all but id and error is empty. Cells whose field has a
    default may be empty."""

    error: str = Field("", description="Why the input was not answered.")


def schema(task: str) -> dict[str, Any]:
    """The JSON schema of a line of predictions, an answer of the task or a refusal; its `$defs` have the CSV's Row.

    Raises:
        ConfigError: there is no such task, or it does not say what it answers.
    """
    answer, row = registry.answer_types(task)
    line: TypeAdapter[Any] = TypeAdapter(answer | Refusal)
    found, shared = TypeAdapter.json_schemas(
        [("line", "serialization", line), ("row", "serialization", TypeAdapter(row))],
        title=f"A prediction of {task}",
        description="A line of `sixfold predict`, or of a run's predictions.jsonl; a row of its CSV is $defs/Row.",
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **{key: shared[key] for key in ("title", "description")},
        **found["line", "serialization"],
        "$defs": shared["$defs"],
    }
