import dataclasses
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.evaluation.maps import MAP_SCHEMA, MapsSettings, map_table, trust
from omnimat.modalities.layout import PROPERTIES_COLUMN
from omnimat.objectives.embeddings import Embeddings

# umap-learn tells that TensorFlow, which one of its methods needs, is not installed.


@pytest.fixture(scope="module")
def split(embedder):
    """The train split; some of its materials have an energy or a gap."""
    known = [json.loads(text) for text in embedder.store.features[PROPERTIES_COLUMN].to_pylist()]
    for row, properties in enumerate(known):
        if row % 2:
            properties["formation_energy_ev_per_atom"] = -row / 10
        if row % 3:
            properties["band_gap_ev"] = 0.0 if row % 3 == 1 else 1.5
    del known[4]["crystal_system"]
    column = embedder.store.features.schema.get_field_index(PROPERTIES_COLUMN)
    texts = pa.array([json.dumps(properties) for properties in known])
    features = embedder.store.features.set_column(column, PROPERTIES_COLUMN, texts)
    store = dataclasses.replace(embedder.store, features=features)
    return dataclasses.replace(embedder, store=store).embed("train")


@pytest.fixture(scope="module")
def blobs():
    """Sixty points in three directions, and in which; their lengths say nothing of it."""
    generator = np.random.default_rng(0)
    direction = np.repeat(np.arange(3), 20)
    values = 10 * np.eye(8)[direction] + generator.normal(size=(60, 8))
    lengths = generator.choice([0.01, 1, 100], size=(60, 1))
    return (values * lengths).astype(np.float32), direction


# Numba compiles UMAP for half a minute.
@pytest.mark.parametrize("method", [pytest.param("umap", marks=pytest.mark.soak), "tsne"])
def test_a_map_keeps_neighbours_and_is_the_same_each_time(blobs, method):
    values, direction = blobs
    settings = MapsSettings(perplexity=10)
    points = settings.coordinates(values, method)
    assert points.shape == (60, 2)
    np.testing.assert_array_equal(points, settings.coordinates(values, method))
    distances = np.linalg.norm(points[:, None] - points, axis=-1) + np.diag(np.full(60, np.inf))
    assert (direction[distances.argmin(1)] == direction).all()


def test_a_map_is_written_with_what_colours_it(split, tmp_path):
    folder = UPath(tmp_path)
    settings = MapsSettings(modalities=("dos",), methods=("tsne",), perplexity=5)
    assert settings.evaluate(split, folder) == []
    table = pq.read_table(str(folder / "maps" / "dos-tsne.parquet"))
    assert table.schema.equals(MAP_SCHEMA)
    rows, store = table.to_pylist(), split.embedder.store
    assert [row["material_id"] for row in rows] == split.records["material_id"].tolist()
    assert [row["reduced_formula"] for row in rows] == split.records["reduced_formula"].tolist()
    for position, row in zip(split.positions, rows, strict=True):
        assert row["formation_energy_ev_per_atom"] == (-position / 10 if position % 2 else None)
        assert row["is_metal"] is [None, True, False][position % 3]
        known = json.loads(store.features[PROPERTIES_COLUMN][position].as_py())
        assert row["crystal_system"] == (None if position == 4 else known["crystal_system"])
    assert 4 in split.positions


def test_the_summary_says_what_each_map_is(split, tmp_path):
    folder, number = UPath(tmp_path), len(split.positions)
    settings = MapsSettings(methods=("tsne",), max_materials=30, num_neighbors=6)
    settings.evaluate(split, folder)
    summaries = json.loads((folder / "maps" / "summary.json").read_text())
    assert [one["modality"] for one in summaries] == ["structure", "dos", "text"]
    for one in summaries:
        assert (one["num_materials"], one["num_embedded"]) == (30, number)
        assert one["settings"]["seed"] == 0
        table = pq.read_table(str(folder / "maps" / one["file"]))
        assert len(table) == 30
        ids = split.records["material_id"].tolist()
        rows = [ids.index(material_id) for material_id in table["material_id"].to_pylist()]
        assert rows == sorted(rows)
        points = np.stack([table["x"], table["y"]], axis=1)
        values = split.embeddings.values[one["modality"]].numpy()[rows]
        assert one["trustworthiness"] == trust(values, points, 6, 0)


def slow_trustworthiness(values, points, count):
    """Venna and Kaski's definition, a neighbour at a time."""
    number = len(values)
    units = values / np.linalg.norm(values, axis=1, keepdims=True)
    penalty = 0
    for i in range(number):
        others = [j for j in range(number) if j != i]
        ranked = sorted(others, key=lambda j, i=i: 1 - units[i] @ units[j])
        near = sorted(others, key=lambda j, i=i: np.linalg.norm(points[i] - points[j]))[:count]
        penalty += sum(max(0, ranked.index(j) + 1 - count) for j in near)
    return 1 - penalty * 2 / (number * count * (2 * number - 3 * count - 1))


def test_trust_is_that_of_the_definition(blobs):
    values, _ = blobs
    points = values[:, :2]
    found = trust(values, points, 4, 0)
    assert found["value"] == pytest.approx(slow_trustworthiness(values, points, 4), abs=1e-9)
    assert (found["num_neighbors"], found["num_materials"]) == (4, 60)


def test_a_property_that_nobody_has_is_null(split):
    bare = dataclasses.replace(split)
    vars(bare)["properties"] = [{} for _ in split.positions]
    rows = np.arange(3)
    table = map_table(bare, rows, np.zeros((3, 2), np.float32))
    for name in ("crystal_system", "formation_energy_ev_per_atom", "is_metal"):
        assert table[name].null_count == 3


def test_too_few_materials_make_no_map(split, tmp_path):
    present = {name: torch.zeros_like(mask) for name, mask in split.embeddings.present.items()}
    present["dos"][:19] = True
    few = dataclasses.replace(split, embeddings=Embeddings(split.embeddings.values, present))
    with pytest.raises(UserError, match="fewer than 20 materials"):
        MapsSettings().evaluate(few, UPath(tmp_path))
    with pytest.raises(UserError, match="no encoder of xrd; it has structure, dos, text"):
        MapsSettings(modalities=("xrd",)).evaluate(split, UPath(tmp_path))
