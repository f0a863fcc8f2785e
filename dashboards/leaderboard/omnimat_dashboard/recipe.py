"""The recipe of a model: the configuration of a run, and how it differs from another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omnimat.leaderboard.imported import IMPORTED
from omnimat.leaderboard.origins import Origin
from omnimat_dashboard.catalogue import Catalogue
from omnimat_dashboard.text import words
from omnimat_dashboard.varied import Varied, varied_configs

MAX_RIVALS = 50  # other models whose recipe is offered for comparison


@dataclass(frozen=True, slots=True)
class Choice:
    """A recipe that can be chosen.

    Attributes:
        group_id: the id of a result that was made by it.
        name: what to call it.
    """

    group_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Recipe:
    """The configuration of a model's run, and how it differs from another one.

    Attributes:
        config: the configuration.
        chosen: the id of the result that it made.
        choices: the recipes of this model.
        against: the id of the result whose recipe it is compared with; empty if there is none.
        rivals: other recipes to compare it with.
        differences: the keys that differ.
        num_equal: how many keys are equal.
    """

    config: Mapping[str, Any]
    chosen: str
    choices: Sequence[Choice]
    against: str
    rivals: Sequence[Choice]
    differences: Sequence[Varied]
    num_equal: int


def recipe_of(
    catalogue: Catalogue, name: str, origins: Sequence[Origin], recipe: str, against: str
) -> Recipe:
    """Read a recipe of a model, and compare it with another one.

    Args:
        catalogue: the results.
        name: the name of the model.
        origins: its runs, the newest first.
        recipe: the id of a result whose recipe is wanted; by default one of the newest run.
        against: the id of a result whose recipe it is compared with; by default the first of those
            to choose among.
    """
    choices = [Choice(one.group_id, f"{one.run_name}, {words(one.variant)}") for one in origins]
    chosen = next((one for one in choices if one.group_id == recipe), choices[0])
    others = [Choice(one.group_id, f"this model: {one.name}") for one in choices if one != chosen]
    rivals = [*others, *_rivals(catalogue, name)]
    other = next((one for one in rivals if one.group_id == against), (*rivals, None)[0])
    config = catalogue.store.rows(group_id=chosen.group_id)[0].config
    differences: Sequence[Varied] = ()
    num_equal = 0
    if other is not None:
        theirs = catalogue.store.rows(group_id=other.group_id)[0].config
        differences, num_equal = varied_configs([config, theirs])
    return Recipe(
        config=config,
        chosen=chosen.group_id,
        choices=choices,
        against="" if other is None else other.group_id,
        rivals=rivals,
        differences=differences,
        num_equal=num_equal,
    )


def _rivals(catalogue: Catalogue, name: str) -> list[Choice]:
    """Give a result of each other model on the same boards; imported ones have no recipe."""
    found: dict[str, Choice] = {}
    for board in dict.fromkeys(one.summary.board for one in catalogue.results().placed(name)):
        for one in catalogue.of_board(board):
            if one.model != name and one.variant != IMPORTED and len(found) < MAX_RIVALS:
                found.setdefault(one.model, Choice(one.group_id, one.model))
    return list(found.values())
