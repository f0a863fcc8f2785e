"""Input files that change after an ingest are noticed; touched or gone, they do no harm."""

import os
import shutil

import pytest
from pymatgen.core import Lattice, Structure
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.sources.files.source import Files
from omnimat.sources.finished import finished
from omnimat.sources.ingest import write_slice
from omnimat.sources.inputs import INPUTS_NAME, check_inputs, content_hash, input_files, save_inputs
from omnimat.sources.merge import merge
from omnimat.sources.prototypes import Prototypes
from omnimat.sources.settings import IngestSettings
from omnimat.sources.tables.source import Table


def write_cif(path, lattice_angstrom):
    crystal = Structure(Lattice.cubic(lattice_angstrom), ["Cs", "Cl"], [[0, 0, 0], [0.5] * 3])
    path.write_text(crystal.to(fmt="cif"))


@pytest.fixture
def cifs(tmp_path):
    folder = tmp_path / "cifs"
    folder.mkdir()
    write_cif(folder / "a.cif", 4.1)
    write_cif(folder / "b.cif", 4.3)
    return folder


@pytest.fixture
def settings(cifs):
    return IngestSettings(source=Files(path=str(cifs)), records_per_shard=1)


@pytest.fixture
def dataset(settings, tmp_path):
    """A finished data set, ingested in this process."""
    folder = UPath(tmp_path / "dataset")
    inputs = input_files(settings.source)
    reports = [write_slice(settings, folder, i, (), content_hash(inputs)) for i in range(2)]
    save_inputs(inputs, folder)
    merge(
        name="d",
        source=settings.source.model_dump(mode="json"),
        settings_fingerprint=settings.fingerprint(),
        reports=reports,
        destination=folder,
    )
    return folder


def change(folder):
    write_cif(folder / "b.cif", 4.4)  # of the same size
    return folder / "b.cif"


def add(folder):
    write_cif(folder / "c.cif", 4.5)
    return folder / "c.cif"


def remove(folder):
    (folder / "a.cif").unlink()
    return "a.cif"


@pytest.mark.parametrize("edit", [change, add, remove])
def test_a_change_is_told_in_one_sentence_with_its_remedies(edit, settings, dataset, cifs):
    assert finished(settings, "d", dataset) is not None
    size_before = (cifs / "b.cif").stat().st_size
    edited = edit(cifs)
    assert (cifs / "b.cif").stat().st_size == size_before
    with pytest.raises(UserError) as error:
        finished(settings, "d", dataset)
    sentence = str(error.value)
    assert "\n" not in sentence
    for told in (str(edited), "another name", f"delete {dataset} ", str(dataset / INPUTS_NAME)):
        assert told in sentence
    (dataset / INPUTS_NAME).unlink()  # the last of the remedies
    assert finished(settings, "d", dataset) is not None


def touch(folder):
    for path in folder.iterdir():
        os.utime(path, ns=(1, 1))


def copy_anew(folder):
    copy = folder.with_name("copy")
    shutil.copytree(folder, copy, copy_function=shutil.copyfile)
    shutil.rmtree(folder)
    copy.rename(folder)


def empty(folder):
    for path in folder.iterdir():
        path.unlink()


@pytest.mark.parametrize("harmless", [touch, copy_anew, empty, shutil.rmtree])
def test_a_file_that_is_touched_or_gone_leaves_a_data_set_as_it_is(
    harmless, settings, dataset, cifs
):
    harmless(cifs)
    assert finished(settings, "d", dataset) is not None


def test_a_path_by_a_variable_that_is_not_set_here(settings, dataset, cifs):
    check_inputs(Files(path="$OMNIMAT_NO_SUCH_VARIABLE/cifs"), dataset)


def test_a_data_set_without_a_list_is_taken_as_it_is(settings, dataset, cifs):
    (dataset / INPUTS_NAME).unlink()
    change(cifs)
    assert finished(settings, "d", dataset) is not None


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: b"{}\n" + data])
def test_a_damaged_list_is_said_in_one_sentence(damage, settings, dataset):
    path = dataset / INPUTS_NAME
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=f"{path} is damaged .*, or delete {path} to keep it"):
        check_inputs(settings, dataset)


def test_half_an_ingest_goes_on_and_after_a_change_begins_anew(settings, tmp_path, cifs):
    folder, shard = UPath(tmp_path / "half"), UPath(tmp_path / "half" / "shard-00000.tar")

    def write() -> int:
        write_slice(settings, folder, 0, (), content_hash(input_files(settings.source)))
        return shard.stat().st_mtime_ns

    written_ns = write()
    touch(cifs)
    assert write() == written_ns
    write_cif(cifs / "a.cif", 4.2)
    assert write() > written_ns


def test_what_each_source_reads(tmp_path):
    for name in ("train.csv", "val.csv.gz", "notes.txt"):
        (tmp_path / name).touch()
    assert set(Table(path=str(tmp_path), mapping="mp20").inputs()) == {"train.csv", "val.csv.gz"}
    single = Table(path=str(tmp_path / "train.csv"), mapping="mp20")
    assert set(single.inputs()) == {"train.csv"}
    for name in ("a/t.parquet", "b/t.parquet"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    pattern = Table(path=f"{tmp_path}/*/t.parquet", mapping="cells")
    assert {name: str(path) for name, path in pattern.inputs().items()} == {
        name: str(tmp_path / name) for name in ("a/t.parquet", "b/t.parquet")
    }
    assert Prototypes().inputs() == {}
    save_inputs(input_files(Prototypes()), UPath(tmp_path))
    assert not (tmp_path / INPUTS_NAME).exists()
