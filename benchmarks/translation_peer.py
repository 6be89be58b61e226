"""The peer of translation_speed.py: torch's nn.Transformer of the same size, on the same batches.

    PYTHON benchmarks/translation_peer.py BATCHES float32|bfloat16 WARM STEPS

PYTHON is an interpreter with benchmarks/requirements-translation.txt. BATCHES (.npz) holds source_N, target_N and
after_N, int64 [rows, length] each, 0 behind them. The first WARM batches are learnt from at once; then every line on
standard input asks for STEPS more. Printed is, once that is done, how many target pieces they had.

Norms before each part, embeddings shared with the output, logits of real places only; the loss has its targets smoothed
by 0.1. bfloat16: torch.autocast.
"""

import contextlib
import sys

import numpy as np
import torch
from torch import nn

PIECES, WIDTH, INNER, HEADS, LAYERS, DROPOUT, SMOOTHING = 10_000, 128, 256, 4, 4, 0.3, 0.1
LONGEST = 1_024


class Translator(nn.Module):
    """Transformer-Tiny."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(PIECES, WIDTH, padding_idx=0)
        nn.init.normal_(self.table.weight, std=WIDTH**-0.5)
        self.body = nn.Transformer(WIDTH, HEADS, LAYERS, LAYERS, INNER, DROPOUT, batch_first=True, norm_first=True)
        self.dropout = nn.Dropout(DROPOUT)
        angles = torch.arange(LONGEST)[:, None] / 10_000 ** (torch.arange(0, WIDTH, 2) / WIDTH)
        self.register_buffer("places", torch.cat([angles.sin(), angles.cos()], dim=1))

    def embedded(self, ids: torch.Tensor) -> torch.Tensor:
        """[rows, length, width]."""
        return self.dropout(self.table(ids) * WIDTH**0.5 + self.places[: ids.shape[1]])

    def forward(self, source: torch.Tensor, target: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        """The loss of what comes after each piece of the target, by piece."""
        later = torch.triu(torch.ones(2 * [target.shape[1]], dtype=torch.bool), 1)
        padding = source == 0
        states = self.body(
            self.embedded(source),
            self.embedded(target),
            tgt_mask=later,
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
            tgt_is_causal=True,
        )
        real = after > 0
        logits = nn.functional.linear(states[real], self.table.weight).float()
        return nn.functional.cross_entropy(logits, after[real], label_smoothing=SMOOTHING)


def main(file: str, precision: str, warm: int, steps: int) -> None:
    """See the module."""
    torch.manual_seed(0)
    arrays = np.load(file)
    batches = [
        [torch.from_numpy(arrays[f"{side}_{place}"].astype(np.int64)) for side in ("source", "target", "after")]
        for place in range(len(arrays.files) // 3)
    ]
    model = Translator()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, betas=(0.9, 0.98))

    def learn(some: list[list[torch.Tensor]]) -> None:
        for batch in some:
            with torch.autocast("cpu", torch.bfloat16) if precision == "bfloat16" else contextlib.nullcontext():
                loss = model(*batch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        print(sum(int((after > 0).sum()) for *_, after in some), flush=True)

    learn(batches[:warm])
    for turn, _ in enumerate(sys.stdin):
        learn(batches[warm + turn * steps : warm + (turn + 1) * steps])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
