"""The curve of Fig. 3b, against loops over targets and candidates."""

import dataclasses
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.evaluation.discovery import DiscoverySettings
from omnimat.evaluation.dos_curves import Curves, best_of_random, normalized_errors
from omnimat.evaluation.neighbors import Neighbors
from omnimat.evaluation.section import EmbeddedSplit
from omnimat.modalities.dos.features import DosCurve
from omnimat.objectives.embeddings import Embeddings
from omnimat.shards.codec import decode
from omnimat.shards.reader import read_records

ENERGIES_EV = np.linspace(-5, 5, 101)


def curves(densities, values=None):
    count = len(densities)
    values = torch.eye(count) if values is None else values
    return Curves(np.array([f"m{i}" for i in range(count)]), values, np.asarray(densities, float))


@pytest.fixture(scope="module")
def folder(split, tmp_path_factory):
    folder = UPath(tmp_path_factory.mktemp("run"))
    return folder, DiscoverySettings().evaluate(split, folder)


def test_the_error_is_the_area_between_the_curves_over_that_of_the_wish():
    wish = np.where(np.abs(ENERGIES_EV) <= 1, 2.0, 0.0)
    same, half, nothing = wish, wish / 2, np.zeros(101)
    found = normalized_errors(
        curves([wish]), curves([same, half, nothing, 3 * wish]), np.array([[0, 1, 2, 3]])
    )
    assert found.tolist() == [pytest.approx([0, 0.5, 1, 2])]


def test_the_best_of_n_is_taken_among_the_n_nearest():
    densities = np.outer([1.0, 3.0, 2.0, 1.0], np.ones(101))
    angles = torch.tensor([0.0, 0.1, 0.2, 0.3])
    known = curves(densities, torch.stack([angles.cos(), angles.sin()], dim=1))
    wishes = curves(densities[:1] * 2, torch.tensor([[1.0, 0.0]]))
    found = Neighbors.among(wishes, known, 3)
    assert found.neighbor_ids.tolist() == [["m0", "m1", "m2"]]
    assert found.errors[0] == pytest.approx([0.5, 0.5, 0.0])
    assert found.similarities[0] == pytest.approx(np.cos([0.0, 0.1, 0.2]))


def test_neighbours_and_errors_equal_those_of_plain_loops(folder, split, embedder):
    folder, _ = folder
    table = pq.read_table(folder / "discovery.parquet").to_pandas()
    true_curves = read_curves(embedder)
    known = embedder.positions("train")
    keys = embedder.column("structure", "train").values.numpy()
    ids = embedder.store.records["material_id"]
    for row, target in enumerate(split.records["material_id"]):
        similarities = keys @ split.embeddings.values["dos"][row].numpy()
        order = np.argsort(-similarities)[:15]
        found = table[table["material_id"] == target]
        assert found["rank"].tolist() == list(range(1, 16))
        np.testing.assert_allclose(found["similarity"], similarities[order], atol=1e-6)
        assert found["neighbor_id"].tolist() == ids.iloc[known[order]].tolist()
        for neighbor, error in zip(found["neighbor_id"], found["nmae"], strict=True):
            wish, other = true_curves[target], true_curves[neighbor]
            areas = [np.trapezoid(c, ENERGIES_EV) for c in (np.abs(wish - other), wish)]
            assert error == pytest.approx(areas[0] / areas[1])


def read_curves(embedder):
    """The densities of states of the shards, on the grid of this evaluation."""
    found = {}
    for raw in read_records(embedder.dataset, embedder.store.records):
        dos = decode(raw.material_id, raw.members).parts["dos"]
        density = np.interp(ENERGIES_EV, dos.energies_ev, dos.spin_up_per_ev, left=0, right=0)
        found[raw.material_id] = density.astype(np.float32).astype(np.float64)
    return found


def test_the_findings_follow_from_the_table(folder, split):
    folder, findings = folder
    table = pq.read_table(folder / "discovery.parquet").to_pandas()
    assert [one.metric for one in findings] == [f"nMAE, best of {n}" for n in (1, 5, 15)]
    for one, n in zip(findings, (1, 5, 15), strict=True):
        best = table[table["rank"] <= n].groupby("material_id")["nmae"].min()
        assert one.value == pytest.approx(best.mean(), rel=1e-12)
        assert (one.num_test, one.predictions) == (len(split.positions), "discovery.parquet")
    report = json.loads((folder / "discovery.json").read_text())
    assert report["best_of"][4] == findings[1].value
    assert len(report["at_rank"]) == len(report["best_of_random"]) == 15
    assert np.diff(report["best_of"]).max() <= 0
    assert findings[0].details["chance"] == report["best_of_random"][0]


def test_random_candidates_are_the_level_of_chance():
    """Best of n of uniform errors is 1 / (n + 1)."""
    heights = np.linspace(1, 2, 2001)
    known = curves(np.outer(heights, np.ones(101)), torch.zeros(2001, 2))
    wishes = curves(np.ones((200, 101)), torch.zeros(200, 2))
    found = best_of_random(wishes, known, 4).mean(axis=0)
    # 20 draws of 200 targets: standard error 0.3 / sqrt(4000) = 0.005; four of them.
    assert found == pytest.approx([1 / 2, 1 / 3, 1 / 4, 1 / 5], abs=0.02)


def test_a_target_without_states_in_the_window_is_dropped_and_counted(split, tmp_path, monkeypatch):
    def without_states(settings, record):
        arrays = original(settings, record)
        if record.material_id == split.records["material_id"][0]:
            arrays["dos_per_ev"] *= 0
        return arrays

    original = DosCurve.__call__
    monkeypatch.setattr(DosCurve, "__call__", without_states)
    findings = DiscoverySettings(max_neighbors=3).evaluate(split, UPath(tmp_path))
    assert [one.metric for one in findings] == ["nMAE, best of 1"]
    assert findings[0].num_test == len(split.positions) - 1
    assert findings[0].details["num_dropped"] == 1


def test_what_cannot_be_discovered_is_said(split, embedder, tmp_path):
    with pytest.raises(UserError, match="would find itself"):
        DiscoverySettings(candidates="test").evaluate(split, UPath(tmp_path))
    cards = {name: card for name, card in embedder.cards.items() if name != "dos"}
    partial = dataclasses.replace(embedder, cards=cards)
    with pytest.raises(UserError, match="no encoder of dos"):
        DiscoverySettings().evaluate(partial.embed("test"), UPath(tmp_path))
    nothing = EmbeddedSplit(
        "test",
        split.positions,
        Embeddings(
            split.embeddings.values,
            {name: flags & False for name, flags in split.embeddings.present.items()},
        ),
        embedder,
    )
    with pytest.raises(UserError, match="0 materials of the test split"):
        DiscoverySettings().evaluate(nothing, UPath(tmp_path))
    with pytest.raises(ValidationError):
        DiscoverySettings(max_neighbors=0)
