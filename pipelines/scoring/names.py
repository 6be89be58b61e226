"""What scores are called, as a person reads it."""

_ACRONYMS = {"auc", "bleu", "cer", "ece", "f1", "hr", "mae", "mase", "mcc", "mrr", "mse", "ndcg", "rmse"}
_ACRONYMS |= {"rmsse", "ter", "wer", "wql"}
_SPELT = {"chrf": "chrF", "gini": "Gini", "map": "mAP", "smape": "sMAPE"}


def label(name: str) -> str:
    """A score's key as words: top_5_accuracy is top-5 accuracy, ece is ECE, smape is sMAPE, coverage_80 is coverage of
    the 80 % interval. map is mAP, the mean over classes; map@10 is MAP@10, that over lists."""
    words = [part.upper() if part.partition("@")[0] in _ACRONYMS else part for part in name.split("_")]
    words = [_SPELT.get(word, word.upper() if word.startswith("map@") else word) for word in words]
    words = [word.replace("gini@", "Gini@") for word in words]
    if words[0] in ("coverage", "width") and words[-1].isdigit():
        return f"{words[0]} of the {words[-1]} % interval"
    if len(words) == 2 and words[1] == "units":
        return f"{words[0]} in units"
    return " ".join(words).replace("top ", "top-")
