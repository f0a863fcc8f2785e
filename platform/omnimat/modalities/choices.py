"""What a job file says about its inputs: the featurizer, encoder and views of each modality."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, ValidationError, create_model, model_validator

from omnimat.base.errors import UserError
from omnimat.base.registry import OneOf, imported
from omnimat.base.settings import Settings
from omnimat.base.workspace import Workspace
from omnimat.modalities.encoder import EncoderSettings
from omnimat.modalities.layout import Featurizer, TrainingRecords
from omnimat.modalities.modality import Modality
from omnimat.modalities.registry import MODALITIES, encoder_classes
from omnimat.modalities.views import ArrayAugmentationSettings, AugmentationSettings


class ModalityChoice(Settings):
    """How one modality is turned into numbers and embedded.

    Attributes:
        featurizer: turns a record into arrays.
        encoder: turns the arrays into an embedding; None if others only predict the modality.
        augmentation: how pretraining varies the modality; None leaves it as it is. Everything
            except pretraining sees materials as they are.
    """

    featurizer: Any
    encoder: Any
    augmentation: Any = None

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        if self.encoder is not None:
            self.encoder.fitted_to(self.featurizer)  # refuses what does not fit
        if self.augmentation is not None:
            self.augmentation.check(self.featurizer)
        return self

    def located(self, workspace: Workspace, training: TrainingRecords) -> Self:
        """Return the same choice with all files read and all statistics measured.

        Raises:
            UserError: a file is not available, or the encoder cannot read what the featurizer
                returns.
        """
        featurizer: Featurizer = self.featurizer.located(workspace, training)
        encoder: EncoderSettings | None = self.encoder and self.encoder.located()
        try:
            encoder = encoder and encoder.fitted_to(featurizer)
            if self.augmentation is not None:
                self.augmentation.check(featurizer)
        except ValueError as error:
            raise UserError(f"modalities.{featurizer.modality}: {error}") from error
        return self.model_copy(update={"featurizer": featurizer, "encoder": encoder})


class _Choices(Settings):
    """The modalities of a run; those left out, or null in a preset, are not used."""

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.names:
            raise ValueError(f"name at least one of {', '.join(MODALITIES.names)}")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the modalities that are used, in the order of the registry."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) is not None)

    def chosen(self) -> dict[str, ModalityChoice]:
        """Return the choice for each modality that is used."""
        return {name: getattr(self, name) for name in self.names}

    def encoders(self) -> dict[str, EncoderSettings]:
        """Return the encoder of each modality that has one."""
        encoders = {name: choice.encoder for name, choice in self.chosen().items()}
        return {name: chosen for name, chosen in encoders.items() if chosen is not None}

    def located(self, workspace: Workspace, training: TrainingRecords) -> Self:
        """Return the same choices with all files read and all statistics measured.

        Args:
            workspace: workspace that holds fitted tokenizers and the like.
            training: records from which statistics are measured.

        Raises:
            UserError: a file is not available.
        """
        chosen = self.chosen().items()
        located = {name: choice.located(workspace, training) for name, choice in chosen}
        return self.model_copy(update=located)

    def augmentations(self) -> dict[str, AugmentationSettings]:
        """Return the augmentation of each modality that has one."""
        augmentations = {name: choice.augmentation for name, choice in self.chosen().items()}
        return {name: chosen for name, chosen in augmentations.items() if chosen is not None}

    def featurizers(self) -> dict[str, Featurizer]:
        """Return the featurizer of each modality that is used."""
        return {name: choice.featurizer for name, choice in self.chosen().items()}


def _choice_of(modality: Modality) -> type[ModalityChoice]:
    """Make the settings class of one modality from what is registered for it."""
    featurizers, encoders = modality.featurizer_classes(), encoder_classes(modality.name)
    fields: dict[str, Any] = {"featurizer": _key(featurizers), "encoder": (None, None)}
    if encoders:
        annotation, default = _key(encoders)
        fields["encoder"] = (annotation | None, default)
    if modality.augmentation is None:
        fields["augmentation"] = (None, None)
    else:
        fields["augmentation"] = (imported(modality.augmentation) | None, None)
    name = f"{modality.name.title().replace('_', '')}Choice"
    return create_model(
        name, __base__=ModalityChoice, __module__=__name__, __doc__=modality.label, **fields
    )


class _Augmentations(Settings):
    """How modalities vary whose stored arrays can vary; those left out stay as they are."""

    def chosen(self) -> dict[str, ArrayAugmentationSettings]:
        """Return the augmentation of each modality that has one."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: one for name, one in values.items() if one is not None}

    def check(self, featurizers: Mapping[str, Featurizer]) -> None:
        """Insist that what featurizers make can vary so; those that are not given may do so.

        Raises:
            UserError: it cannot; the sentence says why.
        """
        chosen = self.chosen()
        for modality in chosen.keys() & featurizers.keys():
            try:
                chosen[modality].check_stored(featurizers[modality])
            except ValueError as error:
                raise UserError(f"augmentation.{modality}: {error}") from error


def _key(classes: tuple[type[Any], ...]) -> tuple[Any, Any]:
    """Return the type of a key and its default: the first class, if it needs no settings."""
    default = str(classes[0].model_fields["type"].default)
    annotation = Annotated[Settings, OneOf(classes, default)]
    try:
        return annotation, classes[0]()
    except ValidationError:
        return annotation, Field(...)


if TYPE_CHECKING:
    ModalityChoices = _Choices
    Augmentations = _Augmentations
else:
    _CLASSES = {name: _choice_of(one) for name, one in MODALITIES.load_all().items()}
    ModalityChoices = create_model(
        "ModalityChoices",
        __base__=_Choices,
        __module__=__name__,
        __doc__=_Choices.__doc__,
        **{name: (one | None, None) for name, one in _CLASSES.items()},
    )
    _AUGMENTATIONS = {
        name: imported(one.augmentation)
        for name, one in MODALITIES.load_all().items()
        if one.augmentation is not None
    }
    Augmentations = create_model(
        "Augmentations",
        __base__=_Augmentations,
        __module__=__name__,
        __doc__=_Augmentations.__doc__,
        **{
            name: (augmentation | None, None)
            for name, augmentation in _AUGMENTATIONS.items()
            if issubclass(augmentation, ArrayAugmentationSettings)
        },
    )
    # Workers that unpickle settings find their classes by name.
    globals().update({one.__name__: one for one in _CLASSES.values()})
