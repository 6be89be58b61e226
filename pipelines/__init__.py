"""Sixfold: one command line over six applied machine-learning tasks in Keras 3.

The Python interface is as short as the command line and takes the same keys:

    from pipelines import run
    result = run("image-classification", data="photos/", epochs=8)
    print(result.headline, result.report)
"""

from pipelines.api import Result, evaluate, export, predict, resume, run

__all__ = ["Result", "evaluate", "export", "predict", "resume", "run"]
__version__ = "0.1.0"
