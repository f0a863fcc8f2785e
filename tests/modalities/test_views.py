"""Random views of records, in each modality."""

import dataclasses

import numpy as np
import pytest

from omnimat.modalities.batch import table_of_views
from omnimat.modalities.charge_density.augment import ChargeDensityAugmentation
from omnimat.modalities.charge_density.features import ChargeDensityGrid
from omnimat.modalities.dos.features import DosCurve
from omnimat.modalities.structure.augment import StructureAugmentation
from omnimat.modalities.structure.features import CrystalGraph
from omnimat.modalities.text.augment import TextAugmentation
from omnimat.modalities.text.embedding import TextEmbedding
from omnimat.modalities.views import RandomViews, generator
from omnimat.modalities.xrd.augment import XrdAugmentation
from omnimat.modalities.xrd.features import XrdPattern
from omnimat.testing.materials import example_records
from omnimat.testing.sent import sent

FEATURIZERS = {
    "structure": CrystalGraph(lattice_sums="none"),
    "dos": DosCurve(),
    "charge_density": ChargeDensityGrid(num_points=8),
    "text": TextEmbedding(source="hashed"),
    "xrd": XrdPattern(),
}
AUGMENTATIONS = {
    "structure": StructureAugmentation(),
    "charge_density": ChargeDensityAugmentation(),
    "text": TextAugmentation(),
    "xrd": XrdAugmentation(),
}


def complete_record():
    for record in example_records():
        if {"text", "charge_density", "dos"} <= record.parts.keys():
            return record
    raise AssertionError("no example has every modality")


def arrays(views, epoch=0, view=0, featurizers=FEATURIZERS):
    record = complete_record()
    extractors = views.extractors(featurizers, epoch, view)
    return {modality: extract(record) for modality, extract in extractors.items()}


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def test_random_numbers_follow_from_all_five_and_nothing_else():
    first = (0, 0, "mp-1", 0, "text")
    others = [
        (1, 0, "mp-1", 0, "text"),
        (0, 1, "mp-1", 0, "text"),
        (0, 0, "mp-2", 0, "text"),
        (0, 0, "mp-1", 1, "text"),
        (0, 0, "mp-1", 0, "xrd"),
        (10, 0, "mp-1", 0, "text"),
    ]
    draws = {key: generator(*key).integers(2**62) for key in [first, *others]}
    assert len(set(draws.values())) == len(draws)
    assert draws == {key: generator(*key).integers(2**62) for key in draws}
    # These were drawn on another machine: a resumed run must see the views it began with.
    assert generator(*first).integers(1000, size=4).tolist() == [687, 972, 676, 778]


def test_what_has_no_augmentation_is_left_to_its_featurizer():
    views = RandomViews(2, 0, {"xrd": XrdAugmentation()})
    extractors = views.extractors(FEATURIZERS, epoch=0, view=1)
    assert list(extractors) == list(FEATURIZERS)
    unchanged = {name for name in FEATURIZERS if extractors[name] is FEATURIZERS[name]}
    assert unchanged == set(FEATURIZERS) - {"xrd"}


@pytest.mark.parametrize("modality", AUGMENTATIONS)
def test_a_view_is_drawn_anew_but_for_the_same_epoch_and_view(modality):
    views = RandomViews(2, 0, AUGMENTATIONS)
    first = arrays(views)[modality]
    assert_equal(first, arrays(sent(views))[modality])
    plain = FEATURIZERS[modality](complete_record())
    assert first.keys() == plain.keys()
    for other in (arrays(views, view=1)[modality], arrays(views, epoch=1)[modality], plain):
        assert any(not np.array_equal(first[name], other[name]) for name in first)


def test_a_modality_varies_without_regard_to_the_others():
    alone = RandomViews(2, 0, {"text": AUGMENTATIONS["text"]})
    among = RandomViews(2, 0, AUGMENTATIONS)
    assert_equal(arrays(alone, 1, 1)["text"], arrays(among, 1, 1)["text"])
    # Moving the crystal affects the structure only.
    charge = RandomViews(2, 0, {"charge_density": ChargeDensityAugmentation()})
    assert_equal(arrays(charge)["charge_density"], arrays(among)["charge_density"])


@pytest.mark.parametrize("name", ["text", "charge_density"])
def test_what_a_record_lacks_no_view_has(name):
    complete = complete_record()
    left = {part: value for part, value in complete.parts.items() if part != name}
    record = dataclasses.replace(complete, parts=left)
    assert RandomViews(2, 0, AUGMENTATIONS).extractors(FEATURIZERS, 0, 0)[name](record) is None


def test_a_view_that_fails_is_quarantined_alone():
    record = complete_record()

    def failing(_):
        raise ValueError("two atoms coincide")

    structure = {"structure": FEATURIZERS["structure"]}
    table = table_of_views([(record, structure), (record, {"structure": failing})], structure)
    assert table["material_id"].to_pylist() == [record.material_id] * 2
    assert table["quarantine_reason"].to_pylist() == [None, "structure: two atoms coincide"]
    assert table["structure.atomic_numbers"].null_count == 1
