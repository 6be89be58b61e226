"""TPUs on the TensorFlow backend. Written after TensorFlow's documentation; no machine that this was ever run on had
one (docs/devices.md)."""

import os
from typing import Any

import tensorflow as tf

from pipelines.devices.accelerators import why_no_tpu
from pipelines.errors import ConfigError, DeviceError
from pipelines.workers import VARIABLE, Workers


def start_tpu(workers: Workers) -> Any:
    """Initialise the TPU of this machine, or the one that TPU_NAME names, and return the strategy over its cores.

    Initialising clears the TPU's memory: it must come before any variable is made on it.

    Raises:
        ConfigError: there are other workers, which one process does without.
        DeviceError: there is none, or it does not start.
    """
    if workers.count > 1:
        raise ConfigError(
            f"device tpu: TensorFlow computes on TPUs from one process, and {VARIABLE} names {workers.count} workers: "
            "unset it, or add --backend jax."
        )
    reason = why_no_tpu()
    if reason:
        raise DeviceError(f"no TPU can be used: {reason}. Use --device cpu or gpu.")
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=os.environ.get("TPU_NAME") or "local")
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except (tf.errors.OpError, ImportError, OSError, RuntimeError, ValueError) as error:
        first = str(error).strip().partition("\n")[0]
        raise DeviceError(
            f"the TPU does not start ({first}): see that no other process holds it, that tensorflow-tpu and libtpu are "
            "of one version, and that TPU_NAME is right."
        ) from error
