import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from upath import UPath

from omnimat.evaluation.clusters import (
    ClustersSettings,
    alignment,
    mean_of_modalities,
    modality_gap,
    silhouette,
    uniformity,
)
from omnimat.objectives.embeddings import Embeddings


def unit(*shape, seed=0):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def slow_silhouette(values, labels):
    """Rousseeuw's definition, a pair at a time, in double precision."""
    values = [np.asarray(value, dtype=float) for value in values]
    lengths = [math.sqrt(value @ value) for value in values]
    scores = []
    for i, label in enumerate(labels):
        distances: dict[str, list[float]] = {}
        for j, other in enumerate(labels):
            if i != j:
                cosine = values[i] @ values[j] / lengths[i] / lengths[j]
                distances.setdefault(other, []).append(1 - cosine)
        if label not in distances:
            scores.append(0.0)  # alone in its class
            continue
        within = np.mean(distances.pop(label))
        nearest = min(np.mean(each) for each in distances.values())
        scores.append((nearest - within) / max(nearest, within))
    return scores


def test_silhouette_is_that_of_the_definition():
    labels = ["cubic", "cubic", "triclinic", "hexagonal", "hexagonal", "cubic", "hexagonal"]
    values = unit(7, 5).numpy()
    expected = slow_silhouette(values, labels)
    found = silhouette(values, labels)
    # Cosines in single precision.
    assert found.mean == pytest.approx(np.mean(expected), abs=1e-6)
    assert list(found.per_class) == ["cubic", "hexagonal", "triclinic"]
    cubic = [score for score, label in zip(expected, labels, strict=True) if label == "cubic"]
    assert found.per_class["cubic"] == pytest.approx(np.mean(cubic), abs=1e-6)
    assert found.per_class["triclinic"] == 0


def test_silhouette_knows_good_classes_from_bad():
    centres = np.eye(3)[[0, 0, 1, 1, 2, 2]] + 0.01 * unit(6, 3).numpy()
    assert silhouette(centres, list("aabbcc")).mean > 0.95
    assert silhouette(centres, list("abcabc")).mean < 0


def test_materials_without_a_class_are_left_out():
    values, labels = unit(40, 4).numpy(), ["a", "b", None, "a"] * 10
    known = [row for row, label in enumerate(labels) if label is not None]
    found = silhouette(values, labels)
    assert found == silhouette(values[known], [labels[row] for row in known])
    assert (found.num_scored, found.num_labelled) == (30, 30)


def test_a_large_set_is_sampled():
    values, labels = unit(300, 4).numpy(), ["a", "b", "c"] * 100
    some, other = (silhouette(values, labels, max_materials=50, seed=seed) for seed in (0, 1))
    assert (some.num_scored, some.num_labelled) == (50, 300)
    assert some == silhouette(values, labels, max_materials=50, seed=0) != other


@pytest.mark.parametrize("labels", [["a"] * 4, list("abcd"), [None] * 4, ["a", None, None, None]])
def test_classes_that_cannot_be_compared_have_no_silhouette(labels):
    assert silhouette(unit(4, 3).numpy(), labels) is None


@pytest.mark.parametrize("block_rows", [1, 7, 64])
def test_uniformity_is_the_mean_over_all_pairs(block_rows):
    values = unit(30, 6)
    kernels = [
        math.exp(-2 * sum((a - b) ** 2 for a, b in zip(one, other, strict=True)))
        for i, one in enumerate(values.tolist())
        for other in values.tolist()[:i]
    ]
    expected = math.log(sum(kernels) / len(kernels))
    assert uniformity(values, block_rows) == pytest.approx(expected, abs=1e-6)


def test_uniformity_of_known_shapes():
    point = unit(1, 4).repeat(10, 1)
    assert uniformity(point) == pytest.approx(0, abs=1e-6)
    # Squared distance 4 between two opposite points, 2 between two at a right angle.
    assert uniformity(torch.tensor([[1.0, 0], [-1, 0]])) == pytest.approx(-8)
    assert uniformity(torch.eye(2)) == pytest.approx(-4)


def test_alignment_is_the_mean_squared_distance():
    first, second = unit(9, 5, seed=1), unit(9, 5, seed=2)
    pairs = zip(first.tolist(), second.tolist(), strict=True)
    distances = [sum((a - b) ** 2 for a, b in zip(*pair, strict=True)) for pair in pairs]
    assert alignment(first, second) == pytest.approx(sum(distances) / 9, abs=1e-6)
    assert alignment(first, first) == 0
    assert alignment(first, -first) == pytest.approx(4)


def test_the_gap_is_between_the_means():
    first = unit(6, 4)
    assert modality_gap(first, first[[3, 1, 2, 0, 5, 4]]) == pytest.approx(0, abs=1e-7)
    assert modality_gap(first, first + torch.tensor([3.0, 0, 4, 0])) == pytest.approx(5)


def test_the_mean_is_of_materials_that_have_all():
    values = {"structure": torch.eye(3), "xrd": torch.eye(3)[[1, 1, 0]]}
    present = {"structure": torch.tensor([True] * 3), "xrd": torch.tensor([True, True, False])}
    values["xrd"][2] = 0
    mean = mean_of_modalities(Embeddings(values, present))
    assert mean.present.tolist() == [True, True, False]
    expected = [[0.5**0.5, 0.5**0.5, 0], [0, 1, 0], [0, 0, 0]]
    torch.testing.assert_close(mean.values, torch.tensor(expected))


@pytest.fixture(scope="module")
def split(embedder):
    return embedder.embed("train")


def test_every_space_and_every_pair_is_measured(split, tmp_path):
    findings = ClustersSettings().evaluate(split, UPath(tmp_path))
    spaces = ["structure", "dos", "text", "mean of structure, dos, text"]
    assert [(finding.task, finding.metric) for finding in findings] == [
        *(
            one
            for space in spaces
            for one in (
                (f"spread of {space}", "uniformity"),
                (f"crystal systems in {space}", "silhouette"),
            )
        ),
        ("alignment of structure and dos", "alignment"),
        ("alignment of structure and text", "alignment"),
        ("alignment of dos and text", "alignment"),
    ]
    assert {finding.num_test for finding in findings} == {len(split.positions)}
    values = split.embeddings.values
    assert findings[0].value == uniformity(values["structure"])
    systems = [known["crystal_system"] for known in split.properties]
    assert findings[1].value == silhouette(values["structure"].numpy(), systems).mean
    assert set(findings[1].details["per_class_silhouette"]) == set(systems)
    assert findings[-1].value == alignment(values["dos"], values["text"])
    assert findings[-1].details["modality_gap"] == modality_gap(values["dos"], values["text"])


def test_what_was_sampled_is_told(split, tmp_path):
    findings = ClustersSettings(max_materials=25, seed=3).evaluate(split, UPath(tmp_path))
    (found,) = [one for one in findings if one.task == "crystal systems in dos"]
    assert (found.num_test, found.details["num_labelled"]) == (25, len(split.positions))
    assert found.details["sample_seed"] == 3
    assert found.settings == {"clusters": {"max_materials": 25, "seed": 3}}


def test_a_modality_that_few_have_is_measured_on_those(split, tmp_path):
    present = split.embeddings.present | {"dos": torch.zeros(len(split.positions), dtype=bool)}
    present["dos"][:2] = True
    few = dataclasses.replace(split, embeddings=Embeddings(split.embeddings.values, present))
    findings = {one.task: one for one in ClustersSettings().evaluate(few, UPath(tmp_path))}
    assert findings["spread of dos"].num_test == 2
    assert findings["alignment of structure and dos"].num_test == 2
    assert "crystal systems in dos" not in findings  # each alone in its class
