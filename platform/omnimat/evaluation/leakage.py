"""Nothing is judged by a property that its inputs or its pretraining have shown.

A run may be pretrained on properties of its materials (``modalities/properties``). To score it on
such a property is honest only for materials that it has not seen, nor any polymorph of them, and
only where the property is not itself an input.

What pretraining has seen of the judging materials without such a label is no fault. It is counted,
and told with the result (``leaderboard.overlap``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from omnimat.base.errors import UserError
from omnimat.base.workspace import Workspace
from omnimat.evaluation.overlap import (
    NOTHING,
    Overlap,
    kept_overlap,
    same_formula,
    without_formula,
)
from omnimat.evaluation.settings import EvaluateSettings
from omnimat.leaderboard.overlap import PretrainingOverlap
from omnimat.materials.quantities import revealed
from omnimat.materials.split import SPLITS, Split
from omnimat.modalities.layout import Featurizer
from omnimat.models.export import Card
from omnimat.models.inputs import featurizers_of
from omnimat.training.seen import (
    Materials,
    Pretraining,
    UnknownPretrainingError,
    pretraining_of,
    properties_shown,
)

_SHOWN = 3
_KEPT_BY_DEFAULT = {"validation", "test"}  # of a data set in ``held_out``


@dataclass(frozen=True, slots=True)
class Judging:
    """What encoders are judged by.

    Attributes:
        materials: the materials that validate and test.
        splits: the splits that pretraining would have to hold out for them.
        properties: the properties that judge, by the modality whose embeddings they judge.
    """

    materials: Materials
    splits: Collection[Split]
    properties: Mapping[str, Collection[str]]

    @classmethod
    def of_sections(
        cls, settings: EvaluateSettings, modalities: Collection[str], workspace: Workspace
    ) -> Judging:
        """Give what the sections of an evaluation judge encoders of these modalities by.

        Raises:
            UserError: the data set is missing.
        """
        properties: dict[str, frozenset[str]] = {}
        for section in settings.sections.values():
            for modality, names in section.judged_by(modalities).items():
                properties[modality] = properties.get(modality, frozenset()) | names
        splits = (settings.split,)
        materials = Materials.of_splits(workspace.dataset(settings.dataset), splits)
        return cls(materials, splits, properties)

    @property
    def all_properties(self) -> frozenset[str]:
        """All properties that judge."""
        return frozenset(name for names in self.properties.values() for name in names)

    @property
    def remedy(self) -> str:
        """What a pretrain job has to hold out."""
        kept = f"dataset: {self.materials.dataset.name}"
        if not set(self.splits) <= _KEPT_BY_DEFAULT:
            kept += f", splits: [{', '.join(self.splits)}]"
        where = " on another data set" if set(self.splits) == set(SPLITS) else ""
        return f"pretrain{where} with held_out: [{{{kept}}}]"


@dataclass(frozen=True, slots=True)
class FoundOverlap:
    """What pretraining has seen of the materials that judge.

    Attributes:
        run: the pretraining run.
        pretraining: what it has seen; None where nobody knows.
        overlap: what of this judges.
        unknown: why nobody knows.
    """

    run: str
    pretraining: Pretraining | None = None
    overlap: Overlap = NOTHING
    unknown: str = ""

    def of_parts(self, parts: Mapping[Split, Collection[str]]) -> PretrainingOverlap:
        """Give what a row tells of it.

        Args:
            parts: the ids of the materials of each part that judges.
        """
        if self.pretraining is None:
            return PretrainingOverlap(run=self.run, unknown=self.unknown)
        materials = self.pretraining.materials
        return PretrainingOverlap(
            run=self.run,
            dataset=materials.dataset.name,
            dataset_fingerprint=materials.dataset_fingerprint,
            num_pretrained=len(materials.records),
            parts={name: self.overlap.counts(ids) for name, ids in parts.items()},
        )


def find_leakage(
    workspace: Workspace, run: str, cards: Mapping[str, Card], judging: Judging
) -> FoundOverlap:
    """Refuse what must not be judged, and find out what pretraining has seen of what may.

    Args:
        workspace: where the run and the data sets lie.
        run: the name of the pretraining run.
        cards: the cards of its encoders.
        judging: what they are judged by.

    Raises:
        UserError: an input shows a property that judges, or pretraining has seen one of a judging
            material or of its formula, or may have seen it, since nobody knows its materials.
    """
    try:
        pretraining = refuse_leakage(workspace, run, cards, judging)
    except UnknownPretrainingError as error:
        return FoundOverlap(run, unknown=error.why)
    overlap = kept_overlap(workspace, judging.materials, pretraining.materials)
    return FoundOverlap(run, pretraining, overlap)


def refuse_leakage(
    workspace: Workspace, run: str, cards: Mapping[str, Card], judging: Judging
) -> Pretraining:
    """Refuse what must not be judged, without a look at structures; ``find_leakage`` says how.

    Returns:
        What the run has seen.

    Raises:
        UserError: what judges was shown, or may have been.
        UnknownPretrainingError: nobody knows what the run has seen, but it was shown no property
            that judges.
    """
    return refuse_shown(cards, lambda: pretraining_of(workspace, run, cards), judging)


def refuse_shown(
    cards: Mapping[str, Card], find: Callable[[], Pretraining], judging: Judging
) -> Pretraining:
    """Refuse what must not be judged; see ``refuse_leakage``.

    Args:
        cards: the cards of the encoders.
        find: finds out what they have seen, or raises an ``UnknownPretrainingError``.
        judging: what they are judged by.
    """
    refuse_inputs(featurizers_of(cards), judging.properties)
    try:
        pretraining = find()
    except UnknownPretrainingError as error:
        known = properties_shown(cards) | error.properties
        if shown := revealed(known, judging.all_properties):
            raise UserError(f"{_named(shown)} was shown in pretraining, and {error}") from error
        raise
    refuse_seen(pretraining, judging)
    return pretraining


def refuse_inputs(
    featurizers: Mapping[str, Featurizer], properties: Mapping[str, Collection[str]]
) -> None:
    """Refuse to judge embeddings by what they are made of.

    Args:
        featurizers: of the run's encoders, by modality.
        properties: that judge, by the modality whose embeddings they judge.

    Raises:
        UserError: a modality shows one of the properties; the sentence names both.
    """
    for modality, names in properties.items():
        inputs = featurizers[modality].properties_shown if modality in featurizers else ()
        if shown := revealed(inputs, names):
            raise UserError(
                f"{_named(shown)} is among the inputs: modalities.{modality} shows it; leave this "
                "modality out, or judge by another property"
            )


def refuse_seen(pretraining: Pretraining, judging: Judging) -> None:
    """Refuse to judge a run by properties that its pretraining has seen of the same materials.

    Raises:
        UserError: pretraining has seen one of them, of a judging material or of its formula; the
            sentence says which, and of which materials.
    """
    shown = revealed(pretraining.properties_shown, judging.all_properties)
    known = sorted(same_formula(judging.materials, pretraining.materials)) if shown else []
    if known:
        ids = ", ".join(known[:_SHOWN]) + (", ..." if len(known) > _SHOWN else "")
        of_all = f"of the {len(judging.materials.records)} materials of data set"
        raise UserError(
            f"{_named(shown)} was shown to run {pretraining.run!r} in pretraining, for "
            f"{len(known)} {of_all} {judging.materials.dataset.name!r} that judge it, or for "
            f"others of their formulas ({ids}): {judging.remedy}, or judge by another property"
        )


def _named(revealed_by: Mapping[str, str]) -> str:
    """Name one of the properties that ``revealed`` found."""
    name, by = min(revealed_by.items())
    return repr(name) if name == by else f"{name!r} (by {by!r})"


def formula_overlap(pretraining: Pretraining, judging: Judging) -> str:
    """Say in a sentence of how many judging materials pretraining sees the formula."""
    materials, seen = judging.materials, pretraining.materials
    count, unknown = len(same_formula(materials, seen)), len(without_formula(materials))
    return (
        f"{count:,} of {len(materials.records):,} materials of data set {materials.dataset.name} "
        f"that judge have the formula of one of the {len(seen.records):,} of data set "
        f"{seen.dataset.name} that run {pretraining.run} is pretrained on"
        + (f"; to rule this out, {judging.remedy}" if count else "")
        + (f"; {unknown:,} have no formula, so nobody knows of them" if unknown else "")
    )
