"""A child of the tests of SavedModels: calls their signatures where neither Sixfold nor Keras can be imported.

python serving_run.py ASKED     what SavedModels answer, as JSON on stdout, the last line

ASKED is a JSON file: of each folder a list of [signature, inputs by name], an input {"type": ..., "values": ...}, of
strings {"type": "string", "shape": ..., "base64": ...}. An answer holds outputs by name, or the error.
"""

import base64
import json
import sys
from pathlib import Path
from typing import Any

_HIDDEN = ("keras", "pipelines", "tasks")
"""TensorFlow itself would import the first, and does without."""


class _Without:
    def __init__(self, finder: Any) -> None:
        self.finder = finder

    def find_spec(self, name: str, *place: Any) -> Any:
        return None if name.partition(".")[0] in _HIDDEN else self.finder.find_spec(name, *place)


def main() -> None:
    """See the module."""
    sys.meta_path = [_Without(finder) for finder in sys.meta_path]  # type: ignore[misc]
    import tensorflow as tf

    def given(one: dict[str, Any]) -> Any:
        if one["type"] == "string":
            return tf.reshape(tf.constant([base64.b64decode(text) for text in one["base64"]], tf.string), one["shape"])
        return tf.reshape(tf.constant(one["values"], one["type"]), one["shape"])

    def answer(signature: Any, inputs: dict[str, Any]) -> dict[str, Any]:
        try:
            found = signature(**{name: given(one) for name, one in inputs.items()})
        except tf.errors.InvalidArgumentError as error:
            return {"error": str(error)}
        return {
            name: [base64.b64encode(text).decode() for text in value.numpy().ravel()]
            if value.dtype == tf.string
            else value.numpy().ravel().tolist()
            for name, value in found.items()
        } | {"shapes": {name: value.shape.as_list() for name, value in found.items()}}

    asked = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    answers = {}
    for folder, requests in asked.items():
        loaded = tf.saved_model.load(folder)
        answers[folder] = [answer(loaded.signatures[name], inputs) for name, inputs in requests]
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
