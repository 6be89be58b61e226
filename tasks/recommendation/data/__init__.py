"""Interactions from tables, lists and data sets to examples, and what is wrong with them. Imports no TensorFlow.

Items and users are int32 codes into assets["items"] and assets["users"]: those below assets["trained"] have training
interactions, the others are new in validation or test or known by a table alone; -1 is one that the model does not
know. What a store fetches for n examples:

    train, where pairs are learned         user, item [n]; rating float32 [n], 1 where there are none
    train, where histories are learned     user [n]; history, history_splits: of one user, oldest first, the latest
                                           max_history + 1
    valid, test of lists                   user [n]; history, history_splits: all that the user took in earlier splits;
                                           target, target_splits: what is held out, none of it in the history;
                                           candidates, candidates_splits where the protocol gives them, the targets
                                           among them
    valid, test of ratings                 as train of pairs
    predict of lists                       user, history, history_splits; name, object [n] of bytes: NUL and the reason
                                           where an input is refused; unknown, object [n] of bytes: JSON of the items
                                           of a history that the model does not know
    predict of ratings                     user, item [n]; name as above
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal, cast

import numpy as np

from pipelines.errors import DataError
from pipelines.sources.folders import printable
from pipelines.task import Assets, CheckReport, Data, Problem, Raw, Store
from tasks.recommendation.config import Config
from tasks.recommendation.data.assembly import assemble, assemble_test, summarise
from tasks.recommendation.data.coding import logged
from tasks.recommendation.data.decided import decide
from tasks.recommendation.data.examining import examine, refuse
from tasks.recommendation.data.inputs import allowed, inputs
from tasks.recommendation.data.packing import unpacked, unpacked_flags

__all__ = [
    *("allowed", "check_data", "decide", "inputs", "learnt", "load_data", "load_test", "references", "seen", "unpacked")
]


def load_data(config: Config, advance: Callable[[int, int], None] | None = None) -> Data:
    """The data of a run: train, valid and test, and the assets users, items, trained, counts, seen, origin; rating
    where there are ratings; features where tables of users or items are given.

    Raises:
        DataError: a source cannot be used, or (on_bad: fail) a part of it.
    """
    examined = examine(config, advance)
    refuse(config, examined)
    config = decide(config, examined.origin)
    return assemble(config, examined, logged(config, examined))


def load_test(config: Config, assets: Assets) -> Data:
    """What a finished model is scored on, as the only split, test: what the run's protocol holds out of config.data.

    Raises:
        DataError: as load_data.
    """
    # What is said of users and items is among the assets; a table of users tells scores apart at most.
    users = config.users if config.group_by is not None else None
    config = config.model_copy(update={"items": None, "users": users})
    examined = examine(config, None)
    refuse(config, examined)
    timeless = config.protocol == "time" and examined.rows.time is None
    if timeless or (config.protocol == "given") != examined.given:
        config = config.model_copy(update={"protocol": "auto"})
    config = decide(config, examined.origin)
    return assemble_test(config, examined, logged(config, examined, assets), assets)


def check_data(config: Config, advance: Callable[[int, int], None] | None = None) -> CheckReport:
    """Everything that is wrong with the data of a run, in one pass; what load_data would stop at is an error.

    Raises:
        DataError: a source as a whole cannot be used.
    """
    examined = examine(config, advance)
    level: Literal["error", "warning"] = "error" if config.on_bad == "fail" else "warning"
    problems = [replace(problem, level=level) for problem in examined.bad]
    config = decide(config, examined.origin)
    try:
        found = logged(config, examined)
        data = assemble(config, examined, found)
    except DataError as error:
        problems = [Problem("error", "split", printable(config.data), str(error)), *problems, *examined.warnings]
        return CheckReport(problems, summarise(config, examined, None, []))
    return CheckReport(problems + examined.warnings + found.warnings, data.summary)


def references(store: Store) -> Raw:
    """The truth about every example of a split.

    Of lists: user, name (object, the user's id), target and target_splits, activity int64 [n] (the length of the
    history), candidates and candidates_splits where the protocol gives them, and group_by where scores are told apart.
    Of ratings: user, item, rating.
    """
    return cast(Raw, cast(Any, store).truth())


def seen(assets: Assets) -> tuple[np.ndarray, np.ndarray]:
    """(splits int64 [users + 1], items int32): what each user of assets["users"] took, of all splits, oldest first."""
    return unpacked(assets["seen"]["splits"]), unpacked(assets["seen"]["items"])


def learnt(assets: Assets) -> tuple[np.ndarray, np.ndarray]:
    """(splits int64 [users + 1], items int32): the same of the training split alone, of the users that it knows."""
    splits, items = seen(assets)
    trained = unpacked_flags(assets["seen"]["trained"])
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(trained)])
    return ends[splits[: assets["trained"]["users"] + 1]], items[trained]
