"""The peer of recommendation_speed.py: RecBole's SASRec on the same file. Prints seconds an epoch takes.

    PYTHON benchmarks/recommendation_peer.py Beauty.txt STEPS

PYTHON is an interpreter with benchmarks/requirements-recommendation.txt. RecBole makes a padded sequence of every part
of a history, 131,413 of them, in batches of 2,048 (its default); the median of STEPS batches is timed, and an epoch is
that times their number. Loss, layers and dropout are those of our recipe.
"""

import contextlib
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

LENGTH = 50
SETTINGS: dict[str, Any] = {
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    "USER_ID_FIELD": "user_id",
    "ITEM_ID_FIELD": "item_id",
    "TIME_FIELD": "timestamp",
    "MAX_ITEM_LIST_LENGTH": LENGTH,
    "n_layers": 2,
    "n_heads": 2,
    "hidden_size": 64,
    "inner_size": 256,
    "hidden_dropout_prob": 0.5,
    "attn_dropout_prob": 0.5,
    "loss_type": "CE",
    "train_neg_sample_args": None,
    "train_batch_size": 2048,
    "learning_rate": 1e-3,
    "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"},
    "metrics": ["Hit", "NDCG"],
    "topk": [10],
    "valid_metric": "NDCG@10",
    "use_gpu": False,
    "show_progress": False,
    "state": "ERROR",
    "seed": 0,
}


def main(path: str, steps: str) -> None:
    """Train a few batches and print what an epoch would take."""
    # RecBole 1.2 names types that NumPy 2 has no more.
    old = {"float_": np.float64, "complex_": np.complex128, "unicode_": np.str_, "bool8": np.bool_, "object0": object}
    for name, kind in old.items():
        setattr(np, name, kind)
    sys.argv = sys.argv[:1]
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    source = Path(path).resolve()
    # RecBole writes logs into the working directory.
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        write_interactions(source, Path(folder))
        settings = {**SETTINGS, "data_path": folder, "checkpoint_dir": folder}
        config = Config(model="SASRec", dataset="beauty", config_dict=settings)
        init_seed(0, True)
        train, _, _ = data_preparation(config, create_dataset(config))
        model = get_model("SASRec")(config, train.dataset)
        optimizer = get_trainer(config["MODEL_TYPE"], "SASRec")(config, model).optimizer
    model.train()
    times = []
    for batch, _ in zip(train, range(int(steps) + 1), strict=False):
        started = time.perf_counter()
        optimizer.zero_grad()
        model.calculate_loss(batch).backward()
        optimizer.step()
        times.append(time.perf_counter() - started)
    print(statistics.median(times[1:]) * len(train.dataset) / SETTINGS["train_batch_size"])


def write_interactions(source: Path, folder: Path) -> None:
    """RecBole's table of a file of lists; the place in the list is the time."""
    (folder / "beauty").mkdir()
    with (folder / "beauty" / "beauty.inter").open("w") as file:
        file.write("user_id:token\titem_id:token\ttimestamp:float\n")
        for line in source.read_text().splitlines():
            user, *items = line.split()
            file.writelines(f"{user}\t{item}\t{place}\n" for place, item in enumerate(items))


if __name__ == "__main__":
    main(*sys.argv[1:])
