"""What scores are called, as a person reads it."""

_ACRONYMS = {"auc", "bleu", "cer", "ece", "f1", "hr", "mae", "mase", "mcc", "mse", "ndcg", "rmse", "smape", "wer"}


def label(name: str) -> str:
    """A score's key as words: top_5_accuracy is top-5 accuracy, ece is ECE."""
    words = [part.upper() if part.partition("@")[0] in _ACRONYMS else part for part in name.split("_")]
    words = ["mAP" if word == "map" else word for word in words]
    return " ".join(words).replace("top ", "top-")
