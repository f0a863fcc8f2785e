"""Small real crystals, ways to write the same crystal differently, and arrays for encoders."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np
from scipy.spatial.transform import Rotation
from torch import Tensor

from omnimat.base.workspace import Workspace
from omnimat.materials.record import Record, Structure
from omnimat.modalities.batch import collate, feature_table
from omnimat.modalities.encoder import EncoderSettings
from omnimat.modalities.layout import QUARANTINE_COLUMN, Featurizer
from omnimat.modalities.properties.features import PropertyValues
from omnimat.modalities.properties.mlp import PropertyMlpSettings
from omnimat.modalities.registry import MODALITIES, default_featurizer, encoder_classes
from omnimat.modalities.structure.crystal import CrystalEncoderSettings
from omnimat.modalities.structure.features import CrystalGraph
from omnimat.modalities.tensors import ModalityTensors
from omnimat.modalities.text.embedding import TextEmbedding
from omnimat.modalities.text.huggingface_encoder import HuggingFaceTextSettings
from omnimat.modalities.text.tokenizer import TokenizerSettings, fit_tokenizer
from omnimat.modalities.text.tokens import TextTokens
from omnimat.modalities.text.transformer import TextTransformerSettings
from omnimat.sources.prototypes import Prototypes

Rewrite = Callable[[Structure], Structure]

# The limit of CDVAE for DimeNet++, whose triplets grow with the square of the neighbours.
_MAX_NEIGHBORS_WITHIN_CUTOFF = 20


@functools.cache
def example_records(num_materials: int = 12, max_atoms: int = 8) -> tuple[Record, ...]:
    """Read crystals that ship with pymatgen, with texts and surrogate DOS and charge density."""
    source = Prototypes(num_materials=num_materials, max_atoms=max_atoms)
    return tuple(r for r in source.read(0, num_materials) if isinstance(r, Record))


def no_records(parts: Collection[str]) -> Iterator[Record]:
    """Stand in for a training split where nothing is measured on one."""
    del parts
    return iter(())


def featurizer_for(settings: EncoderSettings) -> Featurizer:
    """Return a featurizer for a registered encoder that needs nothing except the record."""
    if isinstance(settings, CrystalEncoderSettings):
        graph = CrystalGraph(lattice_sums="featurized" if settings.needs_lattice_sums else "none")
        if settings.needs_cutoff_angstrom is None:
            return graph
        within = {
            "neighbors": "within_cutoff",
            "cutoff_angstrom": settings.needs_cutoff_angstrom,
            "max_neighbors": _MAX_NEIGHBORS_WITHIN_CUTOFF,
        }
        return graph.model_copy(update=within)
    if isinstance(settings, TextTransformerSettings | HuggingFaceTextSettings):
        return _tokens()
    if isinstance(settings, PropertyMlpSettings):
        return _properties()
    modality = modality_of(settings)
    return TextEmbedding(source="hashed") if modality == "text" else default_featurizer(modality)


def modality_of(settings: EncoderSettings) -> str:
    """Find the first modality that a registered encoder serves.

    Raises:
        KeyError: its settings are not registered.
    """
    for name in MODALITIES.names:
        if type(settings) in encoder_classes(name):
            return name
    raise KeyError(f"{type(settings).__name__} is registered for no modality")


@functools.cache
def _properties() -> PropertyValues:
    """Give a featurizer of numbers and classes with statistics of the examples."""
    chosen = PropertyValues(numbers=("density_g_per_cm3",), classes=("crystal_system",))
    return chosen.located(Workspace.open(), lambda parts: iter(example_records()))


@functools.cache
def _tokens() -> TextTokens:
    """Return a featurizer whose tokenizer is fitted on the examples."""
    texts = [record.parts["text"] for record in example_records()]
    return TextTokens(tokenizer=fit_tokenizer(texts, TokenizerSettings()))


def encoder_arrays(records: Sequence[Record], featurizer: Featurizer) -> dict[str, Tensor]:
    """Featurize records and collate them to the arrays that an encoder takes.

    Raises:
        ValueError: a record lacks the modality or cannot be featurized; the message says why.
    """
    featurizers = {featurizer.modality: featurizer}
    table = feature_table(records, featurizers)
    collated = collate(table, featurizers).modalities[featurizer.modality]
    if len(collated.rows) < len(records):
        reasons = set(table[QUARANTINE_COLUMN].drop_null().to_pylist())
        raise ValueError(f"records without {featurizer.modality}: {reasons or 'not known'}")
    return dict(ModalityTensors.from_numpy(collated).arrays)


def rewritten(record: Record, rewrite: Rewrite) -> Record:
    """Return the same material with its structure written differently."""
    assert record.structure is not None
    return record.with_part("structure", rewrite(record.structure))


def permuted(structure: Structure) -> Structure:
    """List the atoms in another order."""
    order = np.random.default_rng(0).permutation(len(structure.atomic_numbers))
    return dataclasses.replace(
        structure,
        atomic_numbers=structure.atomic_numbers[order],
        frac_coords=structure.frac_coords[order],
    )


def rotated(structure: Structure) -> Structure:
    """Rotate the crystal about a general axis."""
    turn = Rotation.from_euler("xyz", [0.3, 1.1, -0.7]).as_matrix()
    return dataclasses.replace(structure, lattice_angstrom=structure.lattice_angstrom @ turn)


def translated(structure: Structure) -> Structure:
    """Move the origin, so that some atoms leave the cell and enter it on the other side."""
    moved = np.mod(structure.frac_coords + np.array([0.31, 0.47, 0.83]), 1.0)
    return dataclasses.replace(structure, frac_coords=moved)


def repeated(structure: Structure) -> Structure:
    """Repeat the cell along its first axis."""
    halved = structure.frac_coords * np.array([0.5, 1, 1])
    return Structure(
        structure.lattice_angstrom * np.array([[2.0], [1], [1]]),
        np.tile(structure.atomic_numbers, 2),
        np.concatenate([halved, halved + np.array([0.5, 0, 0])]),
    )
