"""A SavedModel as a LiteRT (TensorFlow Lite) flatbuffer: a script for a process of its own, as the converter dies of
some models. The one argument is a request in JSON: `saved_model`; `target`; `calibration`, files of inputs, or null;
`products_alone`, whether products with weights alone are int8.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

_FAILED = 9
"""The exit of a conversion that cannot be: the reason is the last line on standard error."""


_PRODUCTS = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D")
"""LiteRT's names of products with weights."""


def main() -> None:
    """Convert, with LiteRT's own operations alone: TensorFlow's, which it can call, are not where it runs."""
    import tensorflow as tf

    request = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    converter = tf.lite.TFLiteConverter.from_saved_model(request["saved_model"], signature_keys=["serving_default"])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if request["calibration"] is not None:

        def inputs() -> Iterator[tuple[str, dict[str, Any]]]:
            for file in request["calibration"]:
                with np.load(file, allow_pickle=False) as arrays:
                    yield "serving_default", dict(arrays)

        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = inputs
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
    try:
        alone = request["calibration"] is not None and request["products_alone"]
        content = products_in_int8(converter) if alone else converter.convert()
    except Exception as error:  # the converter has classes for some of what it cannot do
        print(why(error), file=sys.stderr)
        sys.exit(_FAILED)
    Path(request["target"]).write_bytes(content)


def products_in_int8(converter: Any) -> Any:
    """The flatbuffer of a converter with calibration, where all but products with weights is as it was."""
    import tensorflow as tf
    from tensorflow.lite.python.schema_py_generated import BuiltinOperator

    others = [name for name in vars(BuiltinOperator) if name.isupper() and name not in _PRODUCTS]
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=others)
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter, debug_dataset=converter.representative_dataset, debug_options=options
    )
    return debugger.get_nondebug_quantized_model()


def why(error: Exception) -> str:
    """The line of a converter's message that names operations, else the first, without where in the graph it was."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    line = next((line for line in lines if line.startswith(("Flex ops:", "Custom ops:"))), lines[0])
    return line.rpartition(": error: ")[2].rpartition("))): ")[2].rstrip(".")


if __name__ == "__main__":
    main()
