"""What of a table of known properties goes into an index, and what does not."""

import numpy as np
import pytest

from omnimat.base.errors import UserError
from omnimat.inference.known import known_labels, labelled, unused
from omnimat.search.materials import Chunk

NAMES = ["in/m1.cif", "t.csv:m2", "in/m3.cif"]


@pytest.fixture
def labels(tmp_path):
    lines = ["file,gap_ev", "m1.cif,1.5", "m2,wide", "elsewhere,2", "nowhere,3"]
    (tmp_path / "known.csv").write_text("\n".join(lines))
    return known_labels(str(tmp_path / "known.csv"), "file")


def test_labels_go_to_the_materials_that_they_name(labels):
    chunk = Chunk(NAMES, np.zeros((3, 2), np.float32), [""] * 3, {})
    assert labelled(chunk, labels).columns == {"known.gap_ev": [1.5, None, None]}


def test_what_is_not_used_is_counted(labels):
    strange, bad = unused(labels, NAMES)
    assert ": 2, first 'elsewhere'" in strange
    assert ": 1, first m2: gap_ev: " in bad
    assert "wide" in bad


def test_a_table_that_names_no_material_is_refused(labels):
    with pytest.raises(UserError, match=r"^known: none of its ids .*'m1\.cif'.*'other'"):
        unused(labels, ["other"])
