"""Long recordings by finished runs of speech recognition: their test clips put together, and silence.

    python benchmarks/long_recordings.py RUN [RUN ...] [--clips 50]

Some test clips, chosen by chance, are one recording, with pauses between them of so many seconds, of
silence or of white noise so many decibels below full scale; printed is the WER of each run on each. Of ten seconds of
the pauses alone it is how many words are heard.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import soundfile

from pipelines import devices, registry
from pipelines.api import predict
from pipelines.artefact import read_settings
from pipelines.runs import Run

TASK = "speech-recognition"
PAUSES, LEVELS = (0.3, 1.0, 2.0, 5.0), (None, -60, -40)


def silence(seconds: float, level: int | None, rate: int, random: np.random.Generator) -> np.ndarray:
    """float32 [samples]."""
    loudness = 0.0 if level is None else 10 ** (level / 20)
    return (loudness * random.normal(size=round(seconds * rate))).astype(np.float32)


def recordings(run: Path, clips: int, folder: Path) -> dict[str, tuple[Path, str]]:
    """By name, the file and what is said in it."""
    config: Any = read_settings(Run(run), TASK)
    devices.start(config)
    data = registry.task(TASK).load_data(config)
    store: Any = data.splits["test"]
    random = np.random.default_rng(0)
    rows, rate = random.permutation(len(store))[:clips], int(data.assets["rate"])
    raw, said = store.fetch(rows), " ".join(store.texts(rows))
    sounds = [part.astype(np.float32) / 32_768 for part in np.split(raw["audio"], raw["audio_splits"][1:-1])]
    found = {}
    for level in LEVELS:
        noise = "silence" if level is None else f"noise of {level} dB"
        for seconds in PAUSES:
            parts = [part for sound in sounds for part in (sound, silence(seconds, level, rate, random))]
            found[f"{len(rows)} clips, {seconds:g} s of {noise} between"] = np.concatenate(parts), said
        found[f"10 s of {noise}"] = silence(10, level, rate, random), ""
    for place, (sound, _) in enumerate(found.values()):
        soundfile.write(folder / f"{place}.wav", sound, rate)
    return {name: (folder / f"{place}.wav", text) for place, (name, (_, text)) in enumerate(found.items())}


def main(arguments: argparse.Namespace) -> None:
    """See the module."""
    for run in arguments.runs:
        with tempfile.TemporaryDirectory() as folder:
            every = recordings(run, arguments.clips, Path(folder))
            records = predict(run, [path for path, _ in every.values()])
            for (name, (_, said)), record in zip(every.items(), records, strict=True):
                heard = record["transcript"]
                score = f"WER {jiwer.wer(said, heard):.3f}" if said else f"{len(heard.split())} words"
                print(f"{run}: {name}: {score}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--clips", type=int, default=50)
    main(parser.parse_args())
