import pytest
from pymatgen.core import Lattice, Structure

from omnimat.base.errors import UserError
from omnimat.materials.record import Failure
from omnimat.sources.cifs import Cifs

pytestmark = pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")


def test_a_folder(tmp_path):
    iron = Structure(Lattice.cubic(2.87), ["Fe", "Fe"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    alloy = Structure(Lattice.cubic(3), [{"Fe": 0.5, "Ni": 0.5}], [[0, 0, 0]])
    vacancy = Structure(Lattice.cubic(3), [{"Fe": 0.9}], [[0, 0, 0]])
    for name, structure in {"b.v2 (é)": iron, "a": alloy, "c": vacancy}.items():
        (tmp_path / f"{name}.cif").write_text(structure.to(fmt="cif"))
    two = iron.to(fmt="cif") + iron.to(fmt="cif").replace("data_Fe", "data_Fe2")
    (tmp_path / "d.cif").write_text(two)
    (tmp_path / "e.cif").write_text("")
    (tmp_path / "notes.txt").write_text("not a CIF")
    source = Cifs(path=str(tmp_path), licence="CC0").located()
    assert source.num_items() == 5
    a, b, c, d, e = source.read(0, 5)
    assert isinstance(a, Failure)
    assert a.reason.startswith("a.cif: partial occupancy")
    assert b.material_id == "b_v2____"
    assert b.properties == {"space_group_number": 229, "crystal_system": "cubic"}
    assert b.provenance["licence"] == "CC0"
    assert isinstance(c, Failure)
    assert "partial occupancy" in c.reason
    assert isinstance(d, Failure)
    assert "2 structures" in d.reason
    assert isinstance(e, Failure)


def test_a_missing_folder(tmp_path):
    with pytest.raises(UserError, match=r"source\.path"):
        Cifs(path=str(tmp_path / "none")).located()


def test_paths_may_be_relative_or_of_the_home(tmp_path, monkeypatch):
    (tmp_path / "cifs").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = str(tmp_path / "cifs")
    assert Cifs(path="cifs").located().path == expected
    assert Cifs(path="~/cifs").located().path == expected
