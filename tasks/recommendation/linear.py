"""EASE as the model of a run: what it asks of the settings, and its weights from the data."""

from typing import TYPE_CHECKING

from pipelines.errors import ConfigError
from pipelines.task import Data
from tasks.recommendation.config import Config
from tasks.recommendation.data.stores import interactions
from tasks.recommendation.ease import MOST_ITEMS, Ease, best_penalty
from tasks.recommendation.judging import Judged
from tasks.recommendation.neighbours import matrix

if TYPE_CHECKING:
    import keras
    from scipy.sparse import csr_array


def penalty(config: Config, data: Data) -> float:
    """The one that was set, else what does best on validation (of many items, a usual one).

    Raises:
        ConfigError: it is none, there are too many items, or weights of another run are asked for.
    """
    items = len(data.assets["items"])
    if config.pretrained is not None:
        raise ConfigError("pretrained: ease is solved anew from the data, and starts from no other run: leave it out.")
    if items > MOST_ITEMS:
        raise ConfigError(
            f"backbone ease holds a weight for each pair of items, which for {items:,} of them takes "
            f"{4 * items**2 / 1e9:,.1f} GB several times over: it takes {MOST_ITEMS:,} items at most; leave rare ones "
            "out with min_item, or choose mf."
        )
    if "l2" not in config.model_fields_set:
        return best_penalty(_taken(data), Judged(config, data))[0]
    if not config.l2:
        raise ConfigError("l2 is 0, and ease has no solution without a penalty: choose one above, as 300.")
    return config.l2


def solve(network: "keras.Model", config: Config, data: Data) -> None:
    """Set the network's weights: row j of the table of items has those by which each item taken speaks for item j."""
    from tasks.recommendation.backbones import ITEMS

    weights = Ease.fit(_taken(data), config.l2).weights
    network.get_layer(ITEMS).embeddings.assign(weights.T)


def _taken(data: Data) -> "csr_array":
    train = interactions(data.splits["train"])
    return matrix(train["user"], train["item"], (len(data.assets["users"]), len(data.assets["items"])))
