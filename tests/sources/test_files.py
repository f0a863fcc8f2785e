"""Which files of a folder belong to one material, and what their records say."""

import gzip
import json
import os
import re
import shutil

import pytest
from ase import Atoms
from ase.db import connect
from pymatgen.core import Lattice, Structure

from omnimat.base.errors import UserError
from omnimat.formats.format import Reading
from omnimat.materials.record import Failure
from omnimat.sources.files.source import Files

pytestmark = pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")

IRON = Structure(Lattice.cubic(2.87), ["Fe", "Fe"], [[0, 0, 0], [0.5, 0.5, 0.5]])
COPPER = Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.61), ["Cu"], [[0, 0, 0]])
ALLOY = Structure(Lattice.cubic(3), [{"Fe": 0.5, "Ni": 0.5}], [[0, 0, 0]])
PATTERN = "".join(f"{10 + i / 2} {100 + i}\n" for i in range(60))


def write(folder, **files):
    """Write files below a folder; ``__`` in a name stands for a dot, ``_in_`` for a subfolder."""
    for name, text in files.items():
        path = folder.joinpath(*name.replace("__", ".").split("_in_")[::-1])
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
    return folder


def cif(structure):
    return structure.to(fmt="cif")


def poscar(structure):
    return structure.to(fmt="poscar")


def read(path, **settings):
    source = Files(path=str(path), **settings).located()
    return source, list(source.read(0, source.num_items()))


def by_id(items):
    return {one.material_id: one for one in items}


def test_a_folder_of_crystals(tmp_path):
    write(
        tmp_path,
        iron__cif=cif(IRON),
        alloy__cif=cif(ALLOY),
        broken__cif="",
        copper__CIF=cif(COPPER),
    )
    source, items = read(tmp_path, licence="CC0")
    found = by_id(items)
    assert source.num_items() == 4
    assert found["iron"].properties == {"space_group_number": 229, "crystal_system": "cubic"}
    assert found["iron"].provenance["licence"] == "CC0"
    assert found["iron"].provenance["file"] == "iron.cif"
    assert found["copper"].structure.atomic_numbers.tolist() == [29] * 4
    assert found["alloy"].reason.startswith("partial occupancy: ")
    assert found["alloy"].reason.endswith("(alloy.cif)")
    assert isinstance(found["broken"], Failure)


def test_disorder_by_choice(tmp_path):
    cell = Structure(Lattice.cubic(4), [{"Fe": 0.5, "Ni": 0.5}] * 2, [[0, 0, 0], [0.5, 0.5, 0.5]])
    write(tmp_path, alloy__cif=cif(cell))
    _, (record,) = read(tmp_path, reading=Reading(disorder="nearest_ordered"))
    assert sorted(record.structure.atomic_numbers) == [26, 28]
    assert "ordered" in record.provenance["structure"]


def test_files_of_one_name_are_one_material(tmp_path):
    write(tmp_path, iron__cif=cif(IRON), iron__xy=PATTERN, iron__txt="Body-centred iron.")
    source, (record,) = read(tmp_path)
    assert record.material_id == "iron"
    assert set(record.parts) == {"structure", "xrd", "text"}
    assert record.provenance["xrd"] == "from iron.xy"
    assert set(source.inputs()) == {"iron.cif", "iron.xy", "iron.txt"}


def test_a_pattern_alone_is_a_material_and_a_text_alone_is_none(tmp_path):
    write(tmp_path, unknown__xy=PATTERN, README__md="Measured in 2026.")
    source, (record,) = read(tmp_path)
    assert set(record.parts) == {"xrd"}
    assert any("README.md" in line for line in source.remarks())


def test_two_files_of_one_part_name_each_other(tmp_path):
    write(tmp_path, iron__cif=cif(IRON), iron__vasp=poscar(COPPER))
    _, (record, failure) = read(tmp_path)
    assert record.structure.atomic_numbers.tolist() == [26, 26]
    assert all(name in failure.reason for name in ("structure", "iron.cif", "iron.vasp"))


def test_the_folder_of_a_calculation_names_its_material(tmp_path):
    write(tmp_path, POSCAR_in_mp_1=poscar(IRON), CONTCAR_in_mp_1=poscar(COPPER))
    write(tmp_path, POSCAR_in_mp_2=poscar(IRON), CONTCAR_in_mp_2="")  # it has not ended
    _, items = read(tmp_path)
    records = [one for one in items if not isinstance(one, Failure)]
    assert {one.material_id: len(one.structure.atomic_numbers) for one in records} == {
        "mp_1": 4,
        "mp_2": 2,
    }
    (failure,) = (one for one in items if isinstance(one, Failure))
    assert "CONTCAR" in failure.reason


def test_equal_names_in_different_folders_stay_apart(tmp_path):
    write(tmp_path, iron__cif_in_a=cif(IRON), iron__cif_in_b=cif(COPPER), only__cif_in_b=cif(IRON))
    _, items = read(tmp_path)
    assert set(by_id(items)) == {"a_iron", "b_iron", "only"}


def test_a_file_of_many_is_as_many_items(tmp_path):
    with connect(tmp_path / "many.db") as database:
        for edge in (2.8, 2.9, 3.0):
            database.write(Atoms("Fe", cell=[edge] * 3, pbc=True))
    write(tmp_path, iron__cif=cif(IRON))
    source, items = read(tmp_path)
    assert source.num_items() == len(items) == 4
    one_by_one = [one for i in range(4) for one in source.read(i, i + 1)]
    assert [one.material_id for one in one_by_one] == [one.material_id for one in items]
    assert {"many-1", "many-2", "many-3", "iron"} == set(by_id(items))


def test_a_cif_of_many_is_one_item_and_all_its_crystals_are_read(tmp_path):
    blocks = [
        re.sub("^data_.*$", f"data_{name}", cif(one), flags=re.MULTILINE)
        for name, one in {"bcc": IRON, "bad": ALLOY, "fcc": COPPER}.items()
    ]
    write(tmp_path, many__cif="\n".join(blocks), iron__cif=cif(IRON))
    source, items = read(tmp_path)
    assert source.num_items() == 2
    assert set(by_id(items)) == {"iron", "bcc", "bad", "fcc"}
    assert isinstance(by_id(items)["bad"], Failure)
    one_by_one = [one.material_id for i in range(2) for one in source.read(i, i + 1)]
    assert one_by_one == [one.material_id for one in items]


def test_names_that_a_file_gives_its_entries_are_ids(tmp_path):
    documents = {"mp-1": IRON.as_dict(), "mp/2": COPPER.as_dict()}
    (tmp_path / "two.json.gz").write_bytes(gzip.compress(json.dumps(documents).encode()))
    _, items = read(tmp_path)
    assert set(by_id(items)) == {"mp-1", "mp_2"}


def test_what_is_not_read_is_counted_by_ending(tmp_path):
    write(tmp_path, iron__cif=cif(IRON), a__png="", b__PNG="", notes="", c__pdf__gz="")
    source, _ = read(tmp_path)
    lines = source.remarks()
    assert [line.split("(")[0].strip() for line in lines] == [
        "not read: 2 .png",
        "not read: 1 .pdf.gz",
        "not read: 1 files without an ending",
    ]
    assert "a.png" in lines[0]


def test_a_pattern_of_paths(tmp_path):
    write(tmp_path, iron__cif_in_a=cif(IRON), copper__cif=cif(COPPER), iron__vasp=poscar(IRON))
    assert set(by_id(read(tmp_path / "*.cif")[1])) == {"copper"}
    assert set(by_id(read(tmp_path / "**" / "*.cif")[1])) == {"copper", "iron"}
    assert len(read(tmp_path / "**")[1]) == 3
    assert set(by_id(read(tmp_path / "copper.cif")[1])) == {"copper"}


@pytest.mark.parametrize("content", [{}, {"a__png": ""}])
def test_nothing_that_can_be_read(tmp_path, content):
    write(tmp_path, **content)
    with pytest.raises(UserError, match=r"source\.path"):
        Files(path=str(tmp_path)).located()


def test_a_missing_folder(tmp_path):
    with pytest.raises(UserError, match=r"source\.path"):
        Files(path=str(tmp_path / "none")).located()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_opened_costs_itself(tmp_path):
    write(tmp_path, iron__cif=cif(IRON), copper__cif=cif(COPPER))
    (tmp_path / "copper.cif").chmod(0)
    _, items = read(tmp_path)
    assert isinstance(by_id(items)["copper"], Failure)


def test_paths_may_be_relative_or_of_the_home(tmp_path, monkeypatch):
    write(tmp_path / "cifs", iron__cif=cif(IRON))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    expected = str(tmp_path / "cifs")
    assert Files(path="cifs").located().path == expected
    assert Files(path="~/cifs").located().path == expected


def test_every_case_comes_out_as_its_readme_says(shared_cases, tmp_path):
    shutil.copytree(shared_cases, tmp_path / "cases")
    source, items = read(tmp_path / "cases")
    found = by_id(items)
    read_as_cscl = ("cif_bom", "latin1_author", "occupancy_1_00002", "occupancy_dot")
    for name in read_as_cscl:
        assert found[name].structure.atomic_numbers.tolist() == [55, 17], name
    assert found["rhombohedral_no_symops"].properties["space_group_number"] == 166
    patterns = {"xy_bom", "semicolon", "rruff_comma", "plain_comma", "latin1_header"}
    patterns |= {"eva_header_text", "eva_export_header"}
    for name in patterns:
        pattern = found[name].parts["xrd"]
        assert pattern.two_theta_degree[pattern.intensity.argmax()] == pytest.approx(30.0)
    refused = {one.material_id for one in items if isinstance(one, Failure)}
    assert refused == set(found) - set(read_as_cscl) - patterns - {
        "rhombohedral_no_symops",
        "decimal_comma",
    }
    assert len(refused) == 9
    assert len(source.remarks()) == 1  # the README
