import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional

from omnimat.base.errors import UserError
from omnimat.finetune.averaging import averaged
from omnimat.finetune.codec import ClassIndex, JointCodec, Learned, Standardiser, count_unseen
from omnimat.finetune.refit import Refitted
from omnimat.finetune.tasks import TaskSettings, check_shares
from omnimat.materials.targets import Targets


def known(values):
    values = np.array(values)
    return Targets(values, np.ones(len(values), dtype=bool))


def test_standardising_is_of_the_training_targets_and_is_undone():
    codec = Standardiser.fit(np.array([1.0, 3.0]), "none")
    assert (codec.mean, codec.std) == (2.0, 1.0)
    others = np.array([-4.0, 7.0])
    # float32 in between: 24 bits.
    np.testing.assert_allclose(codec.decode(codec.encode(others)), others, rtol=1e-6)
    assert codec.guess(3).tolist() == [2.0, 2.0, 2.0]


def test_log10_is_standardised_and_undone():
    values = np.array([1.0, 10.0, 1000.0])
    codec = Standardiser.fit(values, "log10")
    assert codec.mean == pytest.approx(4 / 3)
    assert codec.encode(values).std() == pytest.approx(1, rel=1e-6)
    np.testing.assert_allclose(codec.decode(codec.encode(values)), values, rtol=1e-5)


def test_equal_targets_are_only_shifted():
    codec = Standardiser.fit(np.array([5.0, 5.0]), "none")
    assert codec.decode(codec.encode(np.array([6.0]))) == 6


@pytest.mark.parametrize("transform", ["none", "log10"])
def test_several_numbers_are_standardised_each_by_itself(transform):
    values = np.array([[1.0, 200.0, 5.0], [3.0, 100.0, 5.0], [2.0, 400.0, 5.0]])
    codec = Standardiser.fit(values, transform)
    assert codec.num_outputs == 3
    encoded = codec.encode(values)
    np.testing.assert_allclose(encoded.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(encoded.std(axis=0), [1, 1, 0], rtol=1e-6)
    assert Standardiser.model_validate_json(codec.model_dump_json()) == codec
    # float32 in between: 24 bits.
    np.testing.assert_allclose(codec.decode(encoded), values, rtol=1e-5)


def test_classes_are_the_sorted_training_labels_and_others_count_as_wrong():
    codec = ClassIndex.fit(np.array(["b", "a", "b"]), TASKS[2])
    assert codec == ClassIndex(labels=("a", "b"), most_frequent="b")
    unknown = np.array(["a", "z", "b"])
    assert codec.encode(unknown).tolist() == [0, -1, 1]
    assert count_unseen(codec, known(unknown)) == 1
    predictions = codec.decode(np.array([[1, 0], [1, 0], [0, 1]], np.float32))
    assert predictions.tolist() == ["a", "a", "b"]
    assert codec.guess(2).tolist() == ["b", "b"]


def test_the_probability_is_the_largest_of_softmax():
    outputs = np.array([[0, 0], [3, 1], [-500, 500], [1000, 0]], np.float32)
    found = ClassIndex(labels=("a", "b"), most_frequent="a").probability(outputs)
    slow = torch.from_numpy(outputs).double().softmax(1).amax(1)
    np.testing.assert_allclose(found, slow.numpy(), rtol=1e-12)


def test_expected_shares_make_bayes_rule_of_the_outputs():
    """By the slow way: likelihoods are probabilities over the shares that were learned from."""
    task = TASKS[2].model_copy(update={"expected_shares": {"a": 30, "b": 10}})
    codec = ClassIndex.fit(np.array(["b", "a", "b", "b"]), task)
    outputs = np.array([[0.0, 1.0], [0.0, 3.0], [-700, 700]], np.float32)
    learned = torch.from_numpy(outputs).double().softmax(1).numpy()
    expected = learned / [0.25, 0.75] * [0.75, 0.25]
    expected /= expected.sum(axis=1, keepdims=True)
    assert codec.decode(outputs).tolist() == ["a", "b", "b"]  # the first of which was b
    np.testing.assert_allclose(codec.probability(outputs), expected.max(axis=1), rtol=1e-12)
    assert ClassIndex.model_validate_json(codec.model_dump_json()) == codec
    assert "log_ratios" not in ClassIndex.fit(np.array(["b", "a"]), TASKS[2]).model_dump()
    with pytest.raises(ValidationError, match="one for each of labels"):
        ClassIndex(labels=("a", "b"), most_frequent="a", log_ratios=(1.0,))


def test_the_mean_of_networks_is_shifted_once():
    task = TASKS[2].model_copy(update={"expected_shares": {"a": 1, "b": 3}})
    codec = ClassIndex.fit(np.array(["a", "b"]), task)
    outputs = np.random.default_rng(0).normal(size=(3, 50, 2)).astype(np.float32)
    mean = torch.from_numpy(outputs).double().softmax(2).mean(0).numpy() * [0.25, 0.75]
    mean /= mean.sum(axis=1, keepdims=True)
    (found,) = averaged(JointCodec(codecs=(codec,)), outputs)
    assert found.values.tolist() == [codec.labels[place] for place in mean.argmax(axis=1)]
    # The joint outputs are float32, of 24 bits.
    np.testing.assert_allclose(1 - found.spreads, mean.max(axis=1), rtol=1e-6)
    np.testing.assert_array_equal(codec.joint(outputs[:1]), outputs[0])


def test_verification_finds_a_shift_that_the_shares_do_not_give():
    own, other, none = (
        JointCodec(codecs=(ClassIndex(labels=("a", "b"), most_frequent="a", log_ratios=ratios),))
        for ratios in ((0.1, -0.2), (0.1, -0.3), ())
    )
    fitted = Refitted({"system": TASKS[2]}, own, num_records=4)
    assert list(fitted.differing(own, 4)) == []
    assert list(fitted.differing(other, 4)) == list(fitted.differing(none, 4)) == ["system"]
    # Where fewer were learned from, their shares may be others, but none at all they cannot be.
    assert list(fitted.differing(other, 3)) == []
    assert list(fitted.differing(none, 3)) == ["system"]


def test_expected_shares_of_other_classes_are_refused():
    targets = [known(["a", "b"])]
    for shares, differing in (({"a": 1}, "b"), ({"a": 1, "b": 1, "c": 1}, "c")):
        task = TASKS[2].model_copy(update={"expected_shares": shares})
        with pytest.raises(UserError, match=f"'system': expected_shares differ in {differing} "):
            check_shares([task], targets)
    check_shares([TASKS[2]], targets)
    with pytest.raises(ValidationError, match="those of classes"):
        TaskSettings(name="gap", target="gap_ev", expected_shares={"a": 1})


TASKS = (
    TaskSettings(name="gap", target="gap_ev", transform="log10"),
    TaskSettings(name="lengths", target="abc"),
    TaskSettings(name="system", target="system", kind="classification"),
)


def joint():
    """Three tasks of four records, of which some lack a target."""
    targets = [
        Targets(np.array([1.0, np.nan, 100.0, -5.0]), np.array([True, False, True, False])),
        known([[1.0, 2.0, 3.0], [2.0, 2.0, 2.0], [0.0, 1.0, 5.0], [3.0, 3.0, 3.0]]),
        Targets(np.array(["a", "b", "None", "b"]), np.array([True, True, False, True])),
    ]
    return JointCodec.fit(TASKS, targets), targets


@pytest.mark.parametrize("regression", ["squared", "absolute"])
def test_the_joint_loss_is_each_tasks_own_over_the_records_that_have_it(regression):
    codec, targets = joint()
    outputs = torch.randn(4, codec.num_outputs, generator=torch.Generator().manual_seed(0))
    outputs.requires_grad_()
    losses = codec.losses(outputs, codec.encode(targets), regression)
    measure = {"squared": functional.mse_loss, "absolute": functional.l1_loss}[regression]
    gap, lengths, _ = codec.codecs
    expected = [
        measure(outputs[[0, 2], :1], torch.from_numpy(gap.encode(targets[0].known))),
        measure(outputs[:, 1:4], torch.from_numpy(lengths.encode(targets[1].known))),
        functional.cross_entropy(outputs[[0, 1, 3], 4:], torch.tensor([0, 1, 1])),
    ]
    # The same sums in another order: a few units of float32 in the last place.
    torch.testing.assert_close(losses, torch.stack(expected), rtol=1e-6, atol=0)
    losses.sum().backward()
    (wanted,) = torch.autograd.grad(torch.stack(expected).sum(), outputs)
    torch.testing.assert_close(outputs.grad, wanted, rtol=1e-5, atol=1e-8)


def test_a_task_without_any_target_in_a_batch_gives_zero_and_no_gradient():
    codec, targets = joint()
    outputs = torch.randn(1, codec.num_outputs, requires_grad=True)
    learned = [one[torch.tensor([1])] for one in codec.encode(targets)]
    losses = codec.losses(outputs, learned, "squared")
    assert losses[0] == 0
    losses.sum().backward()
    assert outputs.grad is not None
    assert outputs.grad[0, 0] == 0
    assert outputs.grad.isfinite().all()


def test_records_that_all_have_a_target_are_averaged_as_masked_ones_are():
    values, losses = torch.zeros(37, 1), torch.randn(37, requires_grad=True)
    found = []
    for mask in (None, torch.ones(37, dtype=torch.bool)):
        mean = Learned(values, mask).mean(losses)
        found.append((mean, torch.autograd.grad(mean, losses)[0]))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)  # bit by bit
    codec, targets = joint()
    assert [one.is_learned is None for one in codec.encode(targets)] == [False, True, False]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_task_alone_loses_what_it_loses_among_others(place):
    codec, targets = joint()
    outputs = torch.randn(4, codec.num_outputs, generator=torch.Generator().manual_seed(0))
    outputs.requires_grad_()
    among = codec.losses(outputs, codec.encode(targets), "squared")[place : place + 1]
    widths = [one.num_outputs for one in codec.codecs]
    alone = JointCodec(codecs=codec.codecs[place : place + 1])
    part = outputs.split(widths, dim=1)[place]
    loss = alone.losses(part, alone.encode(targets[place : place + 1]), "squared")
    gradients = [torch.autograd.grad(one, outputs)[0] for one in (loss, among)]
    torch.testing.assert_close([loss, gradients[0]], [among, gradients[1]], rtol=0, atol=0)


def test_a_class_that_training_never_saw_teaches_nothing():
    codec, targets = joint()
    unseen = Targets(np.array(["a", "z"]), np.array([True, True]))
    learned = codec.encode([targets[0][:2], targets[1][:2], unseen])
    assert learned[2].is_learned.tolist() == [True, False]


def test_outputs_are_decoded_task_by_task():
    codec, _ = joint()
    predictions = codec.decode(np.zeros((4, codec.num_outputs), np.float32))
    assert [one.shape for one in predictions] == [(4,), (4, 3), (4,)]
    np.testing.assert_allclose(predictions[0], 10.0, rtol=1e-6)  # of log10: the middle of 0 and 2
    assert JointCodec.model_validate_json(codec.model_dump_json()) == codec
