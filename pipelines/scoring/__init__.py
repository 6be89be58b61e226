"""How answers are judged: intervals, calibration, classification scores, the comparison with a baseline.

Imports NumPy only, so that scores can be worked out wherever predictions lie. What is undefined is None, never a
warning: the precision of a class never predicted, the recall of one without examples, the interval of one example.
"""

from pipelines.scoring.agreement import auc
from pipelines.scoring.blocks import block_length, block_weights, resampled_blocks
from pipelines.scoring.calibration import (
    expected_calibration_error,
    fit_temperature,
    log_softmax,
    reliability_bins,
    softmax,
)
from pipelines.scoring.classification import (
    Outcomes,
    classification_scores,
    confusion_matrix,
    log_loss,
    macro_f1,
    outcomes,
    per_class,
    top_k_accuracy,
)
from pipelines.scoring.groups import by_group
from pipelines.scoring.intervals import (
    DRAWS,
    LOWER_IS_BETTER,
    NEITHER_IS_BETTER,
    SEED,
    Resampled,
    Verdict,
    bootstrap,
    difference,
    differences,
    drawn_of,
    resample,
    verdict,
)
from pipelines.scoring.multilabel import UNTUNED, average_precision, best_thresholds, multilabel_scores, sigmoid
from pipelines.scoring.names import label
from pipelines.scoring.quarters import by_quarter, quarters
from pipelines.scoring.records import outputs_of, texts_of

__all__ = [
    "DRAWS",
    "LOWER_IS_BETTER",
    "NEITHER_IS_BETTER",
    "SEED",
    "UNTUNED",
    "Outcomes",
    "Resampled",
    "Verdict",
    "auc",
    "average_precision",
    "best_thresholds",
    "block_length",
    "block_weights",
    "bootstrap",
    "by_group",
    "by_quarter",
    "classification_scores",
    "confusion_matrix",
    "difference",
    "differences",
    "drawn_of",
    "expected_calibration_error",
    "fit_temperature",
    "label",
    "log_loss",
    "log_softmax",
    "macro_f1",
    "multilabel_scores",
    "outcomes",
    "outputs_of",
    "per_class",
    "quarters",
    "reliability_bins",
    "resample",
    "resampled_blocks",
    "sigmoid",
    "softmax",
    "top_k_accuracy",
    "texts_of",
    "verdict",
]
