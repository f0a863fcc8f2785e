"""Indexes of strangers, and damaged ones."""

import io
import json
import os
import random
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.stored_file import StoredFile
from omnimat.search.card import EMBEDDINGS, LEFT_OUT, MATERIALS, Origin
from omnimat.search.index import Index, check_free, write_index
from omnimat.search.materials import Chunk, Contents

ORIGIN = Origin(model="m", encoder="0", modality="structure", source="s")
VECTORS = np.float32([[1, 0], [0, 1], [0.6, 0.8], [np.nan, np.nan]])
CHUNKS = [
    Chunk(
        names=["c", "a"],
        vectors=VECTORS[:2],
        reasons=["", ""],
        columns={
            "reduced_formula": ["NaCl", None],
            "known.gap_ev": [1, None],
            "known.phase": ["x", None],
        },
    ),
    Chunk(
        names=["b", "d"],
        vectors=VECTORS[2:],
        reasons=["", "it is a text"],
        columns={
            "known.gap_ev": [2.5, 7],
            "known.phase": [3, None],
            "known.lengths": [[1, 2.5], None],
            "predicted.nothing": [None, float("nan")],
        },
    ),
]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = UPath(tmp_path_factory.mktemp("written") / "index")
    write_index(folder, ORIGIN, Contents.of(CHUNKS))
    return folder


@pytest.fixture
def copy(written, tmp_path):
    return UPath(shutil.copytree(str(written), tmp_path / "index"))


def forge(folder, name=None, data=None, **changed):
    """Change a file or the card as whoever made the index could, with the hashes that fit."""
    card = json.loads((folder / "index.json").read_text())
    del card["checksum"]
    if name is not None:
        (folder / name).write_bytes(data)
        card["files"][name] = StoredFile.of(data).model_dump()
    (folder / "index.json").write_text(json.dumps(card | changed))


def parquet(**columns):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=array.dtype == object)
    return buffer.getvalue()


def test_it_is_read_as_it_was_written_in_the_order_of_names(written):
    index = Index.open(written)
    assert (len(index), index.card.origin, index.card.num_left_out) == (3, ORIGIN, 1)
    assert index.materials["name"].tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(index.embeddings, VECTORS[[1, 2, 0]])
    assert index.materials["reduced_formula"].tolist() == [None, None, "NaCl"]
    np.testing.assert_array_equal(index.materials["known.gap_ev"], [np.nan, 2.5, 1])
    assert index.materials["known.phase"].tolist() == [None, "3", "x"]
    assert index.materials["known.lengths"][1].tolist() == [1, 2.5]
    assert index.left_out().to_numpy().tolist() == [["d", "it is a text"]]
    assert not index.embeddings.flags.writeable


def test_a_write_that_broke_off_may_be_repeated_and_nothing_else_is_written_over(copy):
    with pytest.raises(UserError, match="there already"):
        check_free(copy)
    (copy / "index.json").unlink()
    left_behind = copy / ".embeddings.npy.0123456789abcdef.partial"
    left_behind.write_bytes(b"half of it")
    check_free(copy)
    assert len(write_index(copy, ORIGIN, Contents.of(CHUNKS))) == 3
    assert not left_behind.exists()
    (copy / "index.json").unlink()
    (copy / "thesis.tex").write_text("")
    with pytest.raises(UserError, match="there already"):
        check_free(copy)


def test_whatever_is_damaged_is_refused_in_a_sentence_that_names_it(copy):
    generator = random.Random(0)
    names = [EMBEDDINGS, MATERIALS, LEFT_OUT, "index.json"]
    for number in range(120):
        file = copy / names[number % 4]
        data = file.read_bytes()
        changed = bytearray(data)
        if number % 3:
            changed[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        else:
            changed = changed[: generator.randrange(len(data) - 1)]
        file.unlink()
        file.write_bytes(bytes(changed))
        with pytest.raises(UserError, match=file.name) as caught:
            Index.open(copy)
        assert "\n" not in str(caught.value)
        file.write_bytes(data)
    assert len(Index.open(copy)) == 3


ROWS = {"name": pa.array(["a", "b", "c"])}
FORGED = {
    "shape": (EMBEDDINGS, npy(np.eye(3, dtype=np.float32)), "3 x 2 float32"),
    "kind": (EMBEDDINGS, npy(np.ones((3, 2)) / 2**0.5), "3 x 2 float32"),
    "length": (EMBEDDINGS, npy(np.ones((3, 2), np.float32)), "unit length"),
    "not a number": (EMBEDDINGS, npy(VECTORS[1:]), "unit length"),
    "pickle": (EMBEDDINGS, npy(np.array([[{}, {}]] * 3)), "numeric"),
    "header": (EMBEDDINGS, npy(VECTORS[:3]).replace(b"(3, 2)", b"(9, 2)"), "does not fit"),
    "rows": (MATERIALS, parquet(name=pa.array(["a"])), "1 rows"),
    "order": (MATERIALS, parquet(name=pa.array(["b", "a", "c"])), "order of names"),
    "nameless": (MATERIALS, parquet(name=pa.array(["a", None, "c"])), "order of names"),
    "no names": (MATERIALS, parquet(reduced_formula=pa.array(["a"] * 3)), "no column 'name'"),
    "column": (MATERIALS, parquet(**ROWS, other=pa.array([1.0] * 3)), "'other' does not belong"),
    "type": (
        MATERIALS,
        parquet(**ROWS, **{"known.x": pa.array([{"y": 1}] * 3)}),
        "'known.x' does not belong",
    ),
    "no Parquet": (MATERIALS, b"PAR1 and so on PAR1", "is no index"),
}


@pytest.mark.parametrize("name", FORGED)
def test_what_somebody_forged_with_the_right_hashes_is_refused(copy, name):
    file, data, reason = FORGED[name]
    forge(copy, file, data)
    with pytest.raises(UserError, match=reason) as caught:
        Index.open(copy)
    assert str(copy) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changed",
    [
        {"num_materials": 10**12},
        {"embedding_dim": -1},
        {"version": 2},
        {"files": {"../index.json": {"size_bytes": 1, "sha256": "0"}}},
        {"origin": {"model": "m"}},
        {"more": 1},
    ],
)
def test_a_forged_card_is_refused(copy, changed):
    forge(copy, **changed)
    with pytest.raises(UserError, match=str(copy)) as caught:
        Index.open(copy)
    assert "\n" not in str(caught.value)


def test_a_card_that_says_one_thing_twice_is_refused(copy):
    text = (copy / "index.json").read_text()
    (copy / "index.json").write_text(text.replace("{", '{"version": 1,', 1))
    with pytest.raises(UserError, match="stands twice"):
        Index.open(copy)


def test_a_pipe_and_a_link_that_leads_out_are_not_opened(copy, tmp_path):
    (copy / EMBEDDINGS).unlink()
    os.mkfifo(copy / EMBEDDINGS)
    with pytest.raises(UserError, match="no regular file"):
        Index.open(copy)
    (copy / EMBEDDINGS).unlink()
    os.symlink("/dev/zero", copy / EMBEDDINGS)
    with pytest.raises(UserError, match="leads out"):
        Index.open(copy)


@pytest.mark.parametrize("name", [EMBEDDINGS, MATERIALS, LEFT_OUT, "index.json"])
def test_a_missing_file_is_named(copy, name):
    (copy / name).unlink()
    with pytest.raises(UserError, match=name):
        Index.open(copy)


def test_what_is_no_folder_is_no_index(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="not a file"):
        Index.open(tmp_path / "file")
    with pytest.raises(UserError, match="is no index"):
        Index.open(tmp_path / "absent")
