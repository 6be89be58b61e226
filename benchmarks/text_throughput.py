"""Sentences a second of fine-tuning a small encoder on SST-2, against the two usual ways.

    python benchmarks/text_throughput.py --pretrained FOLDER --torch PYTHON [--data-root ../shared/data]

all-MiniLM-L6-v2 (FOLDER holds it as Hugging Face does), one epoch, batches of 32, learning rate 1e-4 with warm-up
(ours: as the recipe minilm), all layers trained, one after the other on the same machine:

    sixfold   sixfold run text-sentiment --precision mixed_bfloat16: buckets of lengths, strings in files
    trainer   the Trainer of transformers: dynamic padding, float32; PYTHON is an interpreter with
              benchmarks/requirements-text.txt installed
    stock     keras_hub.models.TextClassifier.fit on strings, padded to 128, float32; on the first --stock sentences
    plain     the same without XLA, which Keras chooses where it is not told otherwise

Each side is a process of its own and counts its training alone, tracing included, loading and scoring not. Printed are
sentences a second, the test accuracy where the whole of train was seen, and our ratio to each. --turns repeats all of
it and gives medians; --limit makes a short trial of it, whose accuracies mean nothing.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

SIDES = ("sixfold", "trainer", "stock", "plain")
BATCH, RATE, WARMUP, PADDED = 32, 1e-4, 0.1, 128


def rows(data: Path, split: str, limit: int | None) -> tuple[list[str], list[int]]:
    """Sentences and their labels."""
    lines = (data / f"{split}.tsv").read_text(encoding="utf-8").splitlines()[:limit]
    pairs = [line.split("\t") for line in lines]
    return [pair[0] for pair in pairs], [int(pair[1]) for pair in pairs]


def sixfold(data: Path, pretrained: str, limit: int | None) -> dict[str, Any]:
    """Ours: a whole run, of which the epoch's updates are timed by itself."""
    from pipelines import run
    from pipelines.runs import Run

    folder = Path(tempfile.mkdtemp()) / "run"
    recipe = {"precision": "mixed_bfloat16", "learning_rate": 3e-4, "average": 0.98}
    settings = {**recipe, "epochs": 1, "batch_size": BATCH}
    result = run(
        "text-sentiment",
        data=str(data),
        pretrained=pretrained,
        run_dir=str(folder),
        limit=limit,
        warmup=WARMUP,
        baseline_iterations=5,
        **settings,
    )
    (epoch,) = Run(folder).events("epoch")
    return {"rate": epoch["examples_per_second"], "accuracy": result.headline}


def stock(data: Path, pretrained: str, limit: int | None, jit: bool | str = "auto") -> dict[str, Any]:
    """KerasHub's classifier on strings, as its guide has it."""
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras
    import keras_hub
    import numpy as np

    keras.utils.set_random_seed(0)
    texts, labels = rows(data, "train", limit)
    model = keras_hub.models.TextClassifier.from_preset(pretrained, num_classes=2)
    model.preprocessor.sequence_length = PADDED
    steps = -(-len(texts) // BATCH)
    warm = round(WARMUP * steps)
    rate = keras.optimizers.schedules.CosineDecay(0.0, steps - warm, warmup_target=RATE, warmup_steps=warm)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.AdamW(rate), loss=loss, jit_compile=jit)
    started = time.perf_counter()
    model.fit(np.array(texts), np.array(labels), batch_size=BATCH, verbose=0)
    return {"rate": len(texts) / (time.perf_counter() - started), "accuracy": None}


def trainer(data: Path, pretrained: str, limit: int | None) -> dict[str, Any]:
    """The Trainer, as its course has it."""
    import torch
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        Trainer,
        TrainingArguments,
    )

    tokenizer = AutoTokenizer.from_pretrained(pretrained)

    class Tokenised(torch.utils.data.Dataset):  # type: ignore[misc, name-defined]
        def __init__(self, split: str) -> None:
            texts, labels = rows(data, split, limit)
            self.rows = [
                {**tokenizer(text, truncation=True, max_length=PADDED), "labels": label}
                for text, label in zip(texts, labels, strict=True)
            ]

        def __len__(self) -> int:
            return len(self.rows)

        def __getitem__(self, place: int) -> dict[str, Any]:
            return self.rows[place]

    train, test = Tokenised("train"), Tokenised("test")
    model = AutoModelForSequenceClassification.from_pretrained(pretrained, num_labels=2)
    arguments = TrainingArguments(
        tempfile.mkdtemp(),
        num_train_epochs=1,
        per_device_train_batch_size=BATCH,
        per_device_eval_batch_size=64,
        learning_rate=RATE,
        warmup_steps=round(WARMUP * len(train) / BATCH),
        report_to="none",
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
        seed=0,
    )
    judge = {"compute_metrics": lambda given: {"accuracy": float((given[0].argmax(-1) == given[1]).mean())}}
    sets = {"train_dataset": train, "eval_dataset": test}
    work = Trainer(model, arguments, DataCollatorWithPadding(tokenizer), **sets, **judge)
    started = time.perf_counter()
    work.train()
    seconds = time.perf_counter() - started
    return {"rate": len(train) / seconds, "accuracy": work.evaluate()["eval_accuracy"]}


def measured(side: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One side in a process of its own: its last line."""
    python = arguments.torch if side == "trainer" else sys.executable
    limit = arguments.stock if side in ("stock", "plain") and arguments.limit is None else arguments.limit
    words = [python, __file__, "--side", side, "--pretrained", arguments.pretrained]
    words += ["--data-root", str(arguments.data_root), *(["--limit", str(limit)] if limit else [])]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": os.getcwd()}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        sys.exit(f"{side} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def compare(arguments: argparse.Namespace) -> None:
    """All sides in turns, then the ratios of their medians."""
    rates: dict[str, list[float]] = {side: [] for side in SIDES}
    for turn in range(arguments.turns):
        for side in SIDES:
            found = measured(side, arguments)
            rates[side].append(found["rate"])
            accuracy = "" if found["accuracy"] is None else f", test accuracy {found['accuracy']:.4f}"
            print(f"turn {turn + 1}: {side}: {found['rate']:.1f} sentences/s{accuracy}", flush=True)
    ours = statistics.median(rates["sixfold"])
    for side in SIDES[1:]:
        other = statistics.median(rates[side])
        print(f"sixfold is {ours / other:.2f} times as fast as {side} ({ours:.1f} against {other:.1f} sentences/s)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pretrained", required=True, help="a folder with all-MiniLM-L6-v2")
    parser.add_argument("--torch", default=sys.executable, help="the Python that has torch and transformers")
    parser.add_argument("--data-root", type=Path, default=Path("../shared/data"))
    parser.add_argument("--stock", type=int, default=1_280, help="sentences that the slowest side trains on")
    parser.add_argument("--limit", type=int, help="of all sides: sentences of each split")
    parser.add_argument("--turns", type=int, default=1)
    parser.add_argument("--side", choices=SIDES, help="measure one side in this process")
    given = parser.parse_args()
    if given.side is None:
        compare(given)
    else:
        plain = partial(stock, jit=False)
        side = {"sixfold": sixfold, "trainer": trainer, "stock": stock, "plain": plain}[given.side]
        print(json.dumps(side(given.data_root / "sst2", given.pretrained, given.limit)))
