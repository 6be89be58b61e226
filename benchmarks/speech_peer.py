"""The peer of speech_speed.py: the same convolutions and bidirectional GRUs in torch, on the same batches.

    PYTHON benchmarks/speech_peer.py BATCHES float32|bfloat16 WARM STEPS

PYTHON is an interpreter with benchmarks/requirements-translation.txt. BATCHES (.npz) holds mels_N float32 [rows,
frames, 80], frames_N int64 [rows], labels_N int64 [rows, length] with 0 behind them; seconds [batches] of sound; and
signs, how many labels there are. The first WARM batches are learnt from at once; then every line on standard input asks
for STEPS more. Printed is, once that is done, how many seconds they had. bfloat16: torch.autocast.
"""

import contextlib
import sys
from typing import Any

import numpy as np
import torch
from torch import nn

MELS, WIDTH, LAYERS = 80, 192, 2


class Recogniser(nn.Module):
    """Two convolutions of 5 frames that halve them, then GRUs both ways."""

    def __init__(self, signs: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv1d(MELS, WIDTH, 5, 2, 2), nn.Conv1d(WIDTH, WIDTH, 5, 2, 2)
        self.body = nn.GRU(WIDTH, WIDTH, LAYERS, batch_first=True, bidirectional=True)
        self.logits = nn.Linear(2 * WIDTH, signs)

    def forward(self, mels: torch.Tensor) -> torch.Tensor:
        """[rows, answers, signs]."""
        x = self.second(self.first(mels.transpose(1, 2)).relu()).relu()
        logits: torch.Tensor = self.logits(self.body(x.transpose(1, 2).contiguous())[0])
        return logits


def main(file: str, precision: str, warm: int, steps: int) -> None:
    """See the module."""
    torch.manual_seed(0)
    arrays = np.load(file)
    model = Recogniser(int(arrays["signs"]))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    batches: list[Any] = []
    for place in range(sum(name.startswith("mels") for name in arrays.files)):
        parts = [torch.from_numpy(arrays[f"{name}_{place}"]) for name in ("mels", "frames", "labels")]
        batches.append((*parts, (parts[2] > 0).sum(1), float(arrays["seconds"][place])))

    def learn(some: list[Any]) -> None:
        for mels, frames, labels, lengths, _ in some:
            with torch.autocast("cpu", torch.bfloat16) if precision == "bfloat16" else contextlib.nullcontext():
                logits = model(mels)
            likely = logits.float().log_softmax(-1).transpose(0, 1)
            loss = nn.functional.ctc_loss(likely, labels, -(-frames // 4), lengths, reduction="sum") / len(mels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        print(sum(seconds for *_, seconds in some), flush=True)

    learn(batches[:warm])
    for turn, _ in enumerate(sys.stdin):
        learn(batches[warm + turn * steps : warm + (turn + 1) * steps])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
