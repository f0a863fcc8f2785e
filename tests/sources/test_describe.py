import dataclasses

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Lattice
from pymatgen.core import Structure as PymatgenStructure
from upath import UPath

from omnimat.materials.crystals import from_pymatgen
from omnimat.materials.record import Record
from omnimat.shards.codec import decode
from omnimat.shards.reader import read_records
from omnimat.sources.describe import Robocrystallographer, describe_missing
from omnimat.sources.files.source import Files
from omnimat.sources.ingest import write_slice
from omnimat.sources.settings import IngestSettings

# These tests start processes that import pymatgen.
pytestmark = pytest.mark.slow


def rock_salt(material_id="nacl", **known) -> Record:
    crystal = PymatgenStructure.from_spacegroup(
        "Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    return Record(
        material_id, {"structure": from_pymatgen(crystal), **known}, provenance={"source": "test"}
    )


def layered() -> Record:
    """Return a single sheet of MoS2 in a cell with a long c axis."""
    lattice = Lattice.hexagonal(3.18, 15.0)
    places = [[1 / 3, 2 / 3, 0.5], [2 / 3, 1 / 3, 0.604], [2 / 3, 1 / 3, 0.396]]
    return Record(
        "layered",
        {"structure": from_pymatgen(PymatgenStructure(lattice, ["Mo", "S", "S"], places))},
    )


def crowded(material_id="crowded") -> Record:
    """Return forty atoms at random places, for which the search for bonds takes many seconds."""
    places = np.random.default_rng(0).random((40, 3))
    crystal = PymatgenStructure(Lattice.cubic(9.0), ["Na", "Cl"] * 20, places)
    return Record(material_id, {"structure": from_pymatgen(crystal)})


def test_texts_are_made_where_they_can_be():
    """An existing text is kept, and a structure that is too slow or impossible stays without."""
    own = rock_salt("own", text="Mine.")
    broken = rock_salt("broken")
    flat = dataclasses.replace(broken.structure, lattice_angstrom=np.zeros((3, 3)))
    broken = broken.with_part("structure", flat)
    records = [rock_salt("first"), own, broken, crowded(), layered()]
    failures = []
    found = list(describe_missing(records, Robocrystallographer(max_cpu_s=5), failures))
    assert [r.material_id for r in found] == ["first", "own", "broken", "crowded", "layered"]
    first, _, _, _, last = found
    assert found[1] is own
    assert found[2] is broken
    assert found[3] is records[3]
    assert first.parts["text"].startswith(
        "NaCl is Halite, Rock Salt structured and crystallizes in the"
    )
    assert "Na¹⁺ is bonded to six equivalent Cl¹⁻ atoms" in first.parts["text"]
    assert "2.82 Å" in first.parts["text"]
    assert first.provenance["source"] == "test"
    assert first.provenance["text"].startswith("generated: robocrystallographer of emmet-core 0.")
    assert "oriented in the (0, 0, 1) direction" in last.parts["text"]
    assert [material_id for material_id, _ in failures] == ["broken", "crowded"]
    assert failures[0][1].startswith("text: ")
    assert failures[1][1].startswith("text: ")
    assert "more than 5 s of CPU time" in failures[1][1]


@pytest.mark.soak
def test_shards_hold_the_texts_and_have_the_same_bytes_again(tmp_path):
    (tmp_path / "cifs").mkdir()
    for name, lattice in (("a", 4.1), ("b", 4.3)):
        crystal = PymatgenStructure(Lattice.cubic(lattice), ["Cs", "Cl"], [[0, 0, 0], [0.5] * 3])
        crystal.to(str(tmp_path / "cifs" / f"{name}.cif"))
    bare = IngestSettings(source=Files(path=str(tmp_path / "cifs"), licence="CC0-1.0"))
    settings = bare.model_copy(update={"missing_text": Robocrystallographer()})
    assert settings.fingerprint() != bare.fingerprint()
    one, two = UPath(tmp_path) / "one", UPath(tmp_path) / "two"
    report = write_slice(settings, one, 0, ())
    assert write_slice(settings, two, 0, ()) == report  # it contains the SHA-256 of the shard
    rows = report.rows
    assert [row["has_text"] for row in rows] == [True, True]
    for raw in read_records(one, pd.DataFrame(rows).assign(shard=0)):
        record = decode(raw.material_id, raw.members)
        assert "Cs¹⁺ is bonded in a body-centered cubic geometry to eight" in record.parts["text"]
        assert record.provenance["text"].startswith("generated: ")
