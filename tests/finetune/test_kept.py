"""What stays on the device gives the batches that are collated anew each time."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from upath import UPath

from omnimat.finetune import examples, kept
from omnimat.finetune.examples import FeatureInputs
from omnimat.finetune.fit import Fit
from omnimat.finetune.kept import KeptInputs, fits
from omnimat.finetune.trial import run_trial
from omnimat.finetune.trial_settings import TrialSettings
from omnimat.modalities.batch import feature_table
from omnimat.modalities.text.transformer import TextTransformerSettings
from omnimat.testing.materials import example_records, featurizer_for

NEEDS_CUDA = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
]
DEVICES = ["cpu", pytest.param("cuda", marks=NEEDS_CUDA)]
# Among these records some lack a density of states; one is taken twice, one part is empty.
PARTS = [np.array([5, 0, 17, 3]), np.array([3, 3]), np.array([], np.int64), np.arange(40)]


@pytest.fixture
def inputs(plan) -> FeatureInputs:
    """Graphs and densities of states of the first forty records."""
    store = plan.store.open()
    table = store.table(np.arange(40)).combine_chunks()
    return FeatureInputs(table, plan.store.featurizers, torch.device("cpu"))


@pytest.mark.parametrize("device", DEVICES)
def test_batches_equal_those_collated_anew(inputs, device):
    own = KeptInputs.of(inputs.table, inputs.featurizers, torch.device(device))
    for found, twin in zip(own.batches(PARTS), inputs.batches(PARTS), strict=True):
        assert found.num_records == twin.num_records
        assert found.modalities.keys() == twin.modalities.keys() == {"structure", "dos"}
        for name, one in found.modalities.items():
            other = twin.modalities[name]
            assert one.rows.tolist() == other.rows.tolist()
            assert one.arrays.keys() == other.arrays.keys()
            for key, array in one.arrays.items():
                assert array.device.type == device
                assert array.dtype == other.arrays[key].dtype
                assert torch.equal(array.cpu(), other.arrays[key]), key


@pytest.mark.parametrize("device", DEVICES)
def test_texts_are_as_long_as_the_longest_of_their_batch(device):
    records = [
        replace(record, parts={} if place == 2 else {"text": record.parts["text"][: 9 * place]})
        for place, record in enumerate(example_records(8), start=1)
    ]
    featurizers = {"text": featurizer_for(TextTransformerSettings(preset="tiny"))}
    table = feature_table(records, featurizers).combine_chunks()
    anew = FeatureInputs(table, featurizers, torch.device("cpu"))
    own = KeptInputs.of(table, featurizers, torch.device(device))
    parts = [np.array([7, 0]), np.array([0, 1, 2]), np.array([1]), np.arange(8)]
    lengths = []
    for found, twin in zip(own.batches(parts), anew.batches(parts), strict=True):
        ours, theirs = (one.modalities["text"].arrays for one in (found, twin))
        assert torch.equal(ours["token_ids"].cpu(), theirs["token_ids"])
        assert torch.equal(ours["num_tokens"].cpu(), theirs["num_tokens"])
        lengths.append(ours["token_ids"].shape[1])
    assert lengths[2] == 0 < lengths[1] < lengths[0] == lengths[3]


def test_a_batch_may_be_changed_without_harm(inputs):
    own = inputs.kept()
    assert isinstance(own, KeptInputs)
    first, again = own.batches([PARTS[0]]), own.batches([PARTS[0]])
    for one in next(first).modalities.values():
        for array in one.arrays.values():
            array.zero_()
    (twin,) = inputs.batches([PARTS[0]])
    edges = next(again).modalities["structure"].arrays
    assert all(torch.equal(edges[k], v) for k, v in twin.modalities["structure"].arrays.items())


def test_what_does_not_fit_is_collated_anew(inputs, monkeypatch):
    device = torch.device("cpu")
    assert fits(1000, device)
    monkeypatch.setattr(kept, "_LARGEST_SHARE", 1e-12)
    assert not fits(1000, device)
    assert inputs.kept() is inputs


def test_trials_learn_the_same_whether_features_are_kept_or_not(plan, tmp_path, monkeypatch):
    """The same bits, gradients included: the weights follow from them."""
    settings = TrialSettings(variant="finetuned", lr=1e-2, seed=0, num_epochs=3, batch_size=16)
    used = []

    def spied(self, *rest, epoch=Fit._epoch):
        used.append(type(self.train.inputs))
        return epoch(self, *rest)

    monkeypatch.setattr(Fit, "_epoch", spied)
    found = []
    for is_kept in (True, False):
        monkeypatch.setattr(examples, "fits", lambda *_, answer=is_kept: answer)
        found.append(run_trial(plan, settings, UPath(tmp_path / str(is_kept)), lambda _: None))
    assert used == [KeptInputs] * 3 + [FeatureInputs] * 3
    assert found[0].weights_sha256 == found[1].weights_sha256
    assert found[0].history == found[1].history
