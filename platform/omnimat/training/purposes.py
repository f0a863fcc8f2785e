"""Whether each modality of a run is contrasted, predicts or is predicted, and can be."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from omnimat.base.errors import UserError
from omnimat.modalities.choices import ModalityChoices
from omnimat.objectives.contrastive import GroupObjective
from omnimat.objectives.regression import RegressionSettings, vector_of


def check_regressions(terms: Sequence[RegressionSettings], modalities: ModalityChoices) -> None:
    """Refuse regressions that cannot be computed.

    Raises:
        UserError: one is.
    """
    featurizers, encoders = modalities.featurizers(), modalities.encoders()
    for place, term in enumerate(terms):
        key = f"regression.{place}"
        if term.source == term.target:
            raise UserError(
                f"{key}.to: {term.target} would be predicted from itself; name another modality"
            )
        _check_named(f"{key}.from", term.source, modalities.names)
        _check_named(f"{key}.to", term.target, modalities.names)
        if term.source not in encoders:
            raise UserError(
                f"{key}.from: {term.source} has no encoder to predict from; remove "
                f"modalities.{term.source}.encoder, or name another modality"
            )
        if term.name in {one.name for one in terms[:place]}:
            raise UserError(f"{key}: {term.name} stands there twice; remove one")
        vector_of(featurizers[term.target])


def check_all_are_used(
    objective: GroupObjective, terms: Sequence[RegressionSettings], modalities: ModalityChoices
) -> None:
    """Refuse a modality from which nothing would be learned.

    Raises:
        UserError: there is one.
    """
    encoders = modalities.encoders()
    contrasted = {name for group in objective.groups(encoders) for name in group}
    learning = contrasted | {term.source for term in terms}
    if idle := [name for name in encoders if name not in learning]:
        raise UserError(
            f"modalities.{idle[0]}: nothing trains its encoder; name it in objective or as from "
            f"under regression, or set modalities.{idle[0]}.encoder to null"
        )
    predicted = {term.target for term in terms}
    unread = [name for name in modalities.names if name not in encoders and name not in predicted]
    if unread:
        raise UserError(
            f"modalities.{unread[0]}.encoder is null and no regression has it as to; add one, or "
            "remove the modality"
        )


def _check_named(key: str, name: str, names: Collection[str]) -> None:
    if name not in names:
        raise UserError(
            f"{key}: {name} is not among the modalities ({', '.join(names)}); add it there"
        )
