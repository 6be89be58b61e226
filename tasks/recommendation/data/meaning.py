"""What a test can tell of a model: little, where it is all about strangers, or where lists hold everything."""

import numpy as np

from pipelines.sources.folders import printable
from pipelines.task import Problem
from tasks.recommendation.config import Config
from tasks.recommendation.data.coding import Logged
from tasks.recommendation.data.splits import TEST, TRAIN


def odd_test(config: Config, found: Logged) -> list[Problem]:
    """Warnings where the scores of a run will say little of its model, whatever it learns."""
    told = [*_strangers(config, found), *_new_items(found), *_short_catalogue(config, found)]
    return [Problem("warning", kind, printable(config.data), message) for kind, message in told]


def _strangers(config: Config, found: Logged) -> list[tuple[str, str]]:
    """Models of histories know a user from all that came before the test, and those with vectors of users fold such a
    one in; the others know users of training alone."""
    log = found.log
    alone = config.rates or config.backbone == "neumf"
    learnt = log.part == TRAIN if alone else log.part != TEST
    users = np.unique(log.user[log.part == TEST])
    new = int((~np.isin(users, log.user[learnt])).sum())
    if 2 * new <= len(users):
        return []
    what = "training interaction" if alone else "interaction before it"
    message = f"{new:,} of the {len(users):,} users of the test have no {what}: the model knows nothing of them but "
    return [("new-users", f"{message}what a table of users (--users) says.")]


def _new_items(found: Logged) -> list[tuple[str, str]]:
    items = found.log.item[found.log.part == TEST]
    new = int((items >= found.trained["items"]).sum())
    if 2 * new <= len(items):
        return []
    message = (
        f"{new:,} of the {len(items):,} held-out interactions are with items that training knows nothing of: only "
    )
    return [("new-items", f"{message}two-tower with a table of items (--items) can place them.")]


def _short_catalogue(config: Config, found: Logged) -> list[tuple[str, str]]:
    count = len(found.log.items)
    if config.rates or found.among is not None or count > config.k:
        return []
    message = (
        f"a list of {config.k:,} holds all items that there are ({count:,}), so that HR and recall are 1 whatever "
    )
    return [("few-items", f"{message}the model learns: choose a smaller --top-k.")]
