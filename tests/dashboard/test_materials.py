"""Pages of single materials: pictures, neighbours and predictions, read inside the storage."""

import os
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from fastapi.testclient import TestClient
from upath import UPath

from omnimat.materials.record import Structure
from omnimat.search.card import Origin
from omnimat.search.index import write_index
from omnimat.search.materials import Contents, table_of
from omnimat.shards.manifest import shard_name
from omnimat_dashboard.app import create_app
from omnimat_dashboard.materials.crystal import MAX_ATOMS, data, picture_of, svg

DATASET = "mp20-mini"
WIDTH = 8


def crystal(lattice, numbers, places) -> Structure:
    lattice, places = np.asarray(lattice, float), np.asarray(places, float)
    return Structure(lattice, np.asarray(numbers, np.int32), places)


FACES = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
EDGES = [[0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5], [0.5, 0.5, 0.5]]
ROCK_SALT = crystal(5.64 * np.eye(3), [11] * 4 + [17] * 4, [*FACES, *EDGES])


@pytest.fixture(scope="module")
def place(storage, tmp_path_factory):
    """A copy of the storage with an index of half of its materials, and a client."""
    root = UPath(tmp_path_factory.mktemp("materials")) / "storage"
    shutil.copytree(storage.root.path, root.path)
    names = sorted(storage.records["material_id"])[::2]
    vectors = np.random.default_rng(0).normal(size=(len(names), WIDTH)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    facts = storage.records.set_index("material_id").loc[names]
    columns = {
        "name": names,
        "reduced_formula": facts["reduced_formula"],
        "known.space_group_number": [225.0] * len(names),
        "predicted.band_gap_ev": np.arange(len(names)) + 0.125,
        "predicted.band_gap_ev_low": np.arange(len(names)) - 1.0,
        "predicted.band_gap_ev_high": np.arange(len(names)) + 1.0,
        "predicted.notes": ["is unlike all that was seen"] + [None] * (len(names) - 1),
    }
    origin = Origin(model="a model", encoder="0" * 16, modality="structure", source=DATASET)
    write_index(root / "indexes" / "mini", origin, Contents(table_of(columns), vectors, ()))
    with TestClient(create_app(storage.url, str(root)), "http://127.0.0.1") as client:
        yield SimpleNamespace(root=root, names=names, vectors=vectors, facts=facts, client=client)


def page_of(place, material_id) -> str:
    answer = place.client.get(f"/materials/{DATASET}/{material_id}")
    assert answer.status_code == 200
    return answer.text


def section(page, name) -> str:
    return page.partition(f'<h2 id="{name}">')[2].partition("</section>")[0]


def test_a_page_shows_the_crystal_what_is_known_and_its_pattern(place, storage):
    record = storage.records.iloc[1]
    page = page_of(place, record["material_id"])
    picture = section(page, "crystal")
    assert picture.count("<circle") >= record["num_atoms"]
    assert "alpha, beta, gamma" in picture
    assert "crystal system" in section(page, "known")
    assert '"kind":"curves"' in section(page, "curves")
    assert f"{record['split']} split" in page


def test_neighbours_are_the_nearest_embeddings_and_each_is_a_link(place):
    own = place.names[3]
    cosines = place.vectors @ place.vectors[3]
    cosines[3] = -2
    nearest = [place.names[one] for one in np.argsort(-cosines)[:6]]
    near = section(page_of(place, own), "near")
    assert re.findall(r'href="[./]*/materials/mp20-mini/([^"]+)"', near) == nearest
    assert [float(one) for one in re.findall(r'number">([\d.-]+)<', near)] == pytest.approx(
        sorted(cosines)[::-1][:6], abs=5.1e-5
    )
    assert near.count("<svg") == 6
    assert "Fm-3m" in near


def test_what_models_predict_has_intervals_notes_and_links_to_results(place, storage):
    page = section(page_of(place, place.names[0]), "predicted")
    assert "band gap" in page
    assert "-1 to 1" in page
    assert "is unlike all that was seen" in page
    group = storage.groups["formation energy", "aligned"]
    assert f"/result/{group}" in page
    assert "of 3 seeds" in page


def test_a_material_on_a_map_is_marked_there(place, storage):
    page = page_of(place, storage.records["material_id"].iloc[0])
    assert section(page, "maps").count('class="own"') == 2
    assert "/map/mini-retrieval/structure-umap" in page


def test_a_material_outside_every_index_says_how_to_make_one(place, storage):
    other = next(one for one in storage.records["material_id"] if one not in place.names)
    assert f"omnimat index MODEL --dataset {DATASET}" in section(page_of(place, other), "near")


@pytest.mark.parametrize(
    "path",
    [
        f"/materials/{DATASET}/no-such",
        "/materials/no-such/x",
        "/materials/..%2F..%2Fetc/passwd",
        f"/materials/{DATASET}/..%2F..%2Fmanifest.json",
    ],
)
def test_what_is_not_there_is_not_found(place, path):
    assert place.client.get(path).status_code == 404


def test_materials_are_found_by_their_formula_or_id(place, storage):
    record = storage.records.iloc[5]
    for wanted in (record["material_id"], record["reduced_formula"]):
        found = place.client.get(f"/materials/{DATASET}", params={"q": wanted}).text
        assert f"/materials/{DATASET}/{record['material_id']}" in found
    nothing = place.client.get(f"/materials/{DATASET}", params={"q": "<b>Xx</b>"}).text
    assert "has no material with" in nothing
    assert "<b>Xx" not in nothing


@pytest.fixture
def copy(storage, tmp_path):
    """A storage whose shards may be spoiled."""
    root = tmp_path / "storage"
    shutil.copytree(storage.root.path, root)
    return root


def shown(storage, root) -> str:
    with TestClient(create_app(storage.url, str(root)), "http://127.0.0.1") as client:
        return client.get(f"/materials/{DATASET}/{storage.records['material_id'].iloc[0]}").text


def test_a_damaged_record_is_named_and_not_shown(copy, storage):
    shard = copy / "datasets" / DATASET / shard_name(0)
    content = bytearray(shard.read_bytes())
    content[700] ^= 1
    shard.write_bytes(content)
    assert "crc32" in shown(storage, copy)


def test_a_shard_outside_the_storage_is_not_opened(copy, storage, tmp_path):
    shard = copy / "datasets" / DATASET / shard_name(0)
    shutil.move(shard, tmp_path / "outside.tar")
    shard.symlink_to(tmp_path / "outside.tar")
    assert "leads out of the storage" in shown(storage, copy)


def test_a_pipe_in_place_of_a_shard_holds_nothing_up(copy, storage):
    shard = copy / "datasets" / DATASET / shard_name(0)
    shard.unlink()
    os.mkfifo(shard)
    assert "is no regular file" in shown(storage, copy)


def test_atoms_on_a_face_are_drawn_on_both_and_unlike_atoms_are_bonded():
    picture = picture_of(ROCK_SALT)
    # 14 sodium and 13 chlorine atoms lie in a cell with its faces, and 54 pairs of them touch.
    assert np.bincount(picture.atomic_numbers)[[11, 17]].tolist() == [14, 13]
    assert len(picture.bonds) == 54
    lengths = np.linalg.norm(np.diff(picture.atoms_angstrom[picture.bonds], axis=1), axis=2)
    assert lengths == pytest.approx(2.82, abs=1e-6)


def test_metals_are_bonded_where_there_is_nothing_else():
    copper = crystal(3.61 * np.eye(3), [29] * 4, FACES)
    assert len(picture_of(copper).bonds) > 0


def test_a_picture_fits_its_frame_however_it_is_turned():
    picture = picture_of(ROCK_SALT)
    half = picture.radius_angstrom
    assert half >= 5.64 * np.sqrt(3) / 2
    drawn = str(svg(picture, 'a "quoted" <label>'))
    assert "<label>" not in drawn
    circles = re.findall(r'cx="([\d.-]+)" cy="([\d.-]+)" r="([\d.]+)"', drawn)
    assert len(circles) == 27
    for x, y, r in (map(float, one) for one in circles):
        assert np.hypot(x, y) + r <= half + 0.02


def test_the_script_gets_the_same_crystal():
    given = data(picture_of(ROCK_SALT))
    turn = np.array(given["turn"])
    assert turn @ turn.T == pytest.approx(np.eye(3), abs=1e-5)
    assert len(given["edges"]) == 12
    assert set(given["looks"]) == {11, 17}


def test_a_crystal_of_very_many_atoms_is_not_drawn():
    places = np.random.default_rng(0).random((MAX_ATOMS + 1, 3))
    assert picture_of(crystal(50 * np.eye(3), [6] * len(places), places)) is None


def test_an_index_of_a_job_is_found_too(place, storage, tmp_path):
    shutil.copytree(place.root.path, tmp_path / "storage")
    indexes = tmp_path / "storage" / "indexes"
    (indexes / "of-job").mkdir()
    (indexes / "mini").rename(indexes / "of-job" / "index")
    with TestClient(create_app(storage.url, str(tmp_path / "storage")), "http://127.0.0.1") as one:
        assert 'value="indexes/of-job/index"' in one.get("/search").text
