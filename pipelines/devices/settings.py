"""What a compiled step does besides the gradient."""

from dataclasses import dataclass


@dataclass(frozen=True)
class StepSettings:
    """The settings that are compiled into a step."""

    accumulate: int = 1
    clip_norm: float | None = None
    l1: float = 0.0
    l2: float = 0.0
    average: float | None = None
    jit: bool = False
    rates: tuple[float, ...] = ()
    """For each trainable variable what its learning rate is multiplied by; none: all alike."""
    lengths: bool = False
    """Whether batches differ in what stands behind their rows, as texts do in their length: one graph is then for
    all."""
    fused: bool = False
    """Whether XLA compiles the update of the weights alone, where it compiles nothing else: one pass over the memory
    of a large model in place of ten."""
    shard_tables: bool = False
    """Whether the rows of tables of embeddings are split over the devices."""
    rows: bool = False
    """Whether batches differ in their rows too, as batches of so many tokens do."""
    model_parallel: int = 1
    """Devices that share the kernels of attention and of the dense layers behind it."""
    scaled: bool = False
    """Whether the loss is scaled for its gradients, as float16 needs it."""
