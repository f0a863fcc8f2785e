import dataclasses
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter

from omnimat.base.errors import UserError
from omnimat.formats.format import FORMATS, Format
from omnimat.materials.record import Failure, Record
from omnimat.modalities.composition.features import Magpie
from omnimat.modalities.dos import DensityOfStates
from omnimat.modalities.dos.features import DosCurve
from omnimat.modalities.text.embedding import TextEmbedding
from omnimat.modalities.text.transformer import TextTransformerSettings
from omnimat.modalities.xrd import MeasuredPattern
from omnimat.modalities.xrd.features import XrdPattern
from omnimat.search.read import read_query
from omnimat.sources.files.source import Files
from omnimat.testing.materials import example_records, featurizer_for


def test_a_cif_is_read_as_the_source_reads_it(query_files):
    file = Path(query_files["structure"])
    (expected,) = Files(path=str(file.parent)).read(0, 1)
    found = read_query(str(file)).record.structure
    for field in dataclasses.fields(found):
        np.testing.assert_array_equal(
            getattr(found, field.name), getattr(expected.structure, field.name)
        )


def test_a_dos_is_the_same_from_either_kind_of_file(query_files, sought, tmp_path):
    dos = sought.parts["dos"]
    np.savez(tmp_path / "dos.npz", energies_ev=dos.energies_ev, dos=dos.spin_up_per_ev)
    expected = DosCurve()(sought)
    for file in (query_files["dos"], str(tmp_path / "dos.npz")):
        arrays = DosCurve()(read_query(file).record)
        np.testing.assert_allclose(arrays["dos_per_ev"], expected["dos_per_ev"], rtol=1e-6)
        np.testing.assert_allclose(arrays["energies_ev"], expected["energies_ev"], rtol=1e-6)


def test_a_dos_without_its_cell_cannot_be_given_per_atom(query_files):
    with pytest.raises(ValueError, match="number of atoms"):
        DosCurve(normalization="per_atom")(read_query(query_files["dos"]).record)


def test_a_pattern_is_scaled_and_brought_to_the_grid(tmp_path):
    file = tmp_path / "sample.xy"
    angles = np.linspace(10.005, 70.005, 3001)
    lines = [f"{angle:.4f} {500 + 5 * angle:.4f}\n" for angle in angles]
    file.write_text("# from the lab\n! Cu K-alpha\n" + "".join(lines))
    query, pattern = read_query(str(file)), XrdPattern()
    intensity, grid = pattern(query.record)["intensity"], pattern.two_theta_degree
    measured = (grid >= angles[0]) & (grid <= angles[-1])
    assert (intensity[~measured] == 0).all()
    assert intensity.max() == 100
    # A line is reproduced by linear interpolation.
    expected = (500 + 5 * grid[measured]) / (500 + 5 * grid[measured][-1]) * 100
    np.testing.assert_allclose(intensity[measured], expected, rtol=1e-5)
    (note,) = query.notes(pattern)
    assert "from 10.005 to 70.005 degrees" in note
    assert "0 to 89.9" in note


def test_what_a_pattern_should_not_be_is_noted(tmp_path):
    file = tmp_path / "sticks.xy"
    file.write_text("0 0\n20 100\n45 -3\n90 0\n")
    notes = " ".join(read_query(str(file)).notes(XrdPattern()))
    assert "list of peaks" in notes
    assert "Negative" in notes
    assert "0 where nothing" not in notes


def test_a_formula_has_the_features_of_its_crystal(query_files, sought):
    arrays = Magpie()(read_query(query_files["composition"]).record)
    np.testing.assert_allclose(arrays["magpie"], Magpie()(sought)["magpie"], rtol=1e-6)


@pytest.mark.parametrize("formula", ["Li0.5CoO2", "LiCo2O4", "Li(CoO2)2"])
def test_a_formula_may_have_fractions_and_brackets(formula):
    read = read_query(formula).record.parts["composition"]
    fractions = dict(zip(read.atomic_numbers, read.amounts / read.amounts.sum(), strict=True))
    assert fractions == pytest.approx({3: 1 / 7, 27: 2 / 7, 8: 4 / 7})


def test_several_words_are_a_sentence():
    text = "A cubic perovskite of Ba, Ti and O. " * 20  # longer than a file's name may be
    query = read_query(text)
    assert query.record.parts == {"text": text}
    assert TextEmbedding(source="hashed")(query.record)["embedding"].shape == (768,)
    assert TextEmbedding(source="hashed")(read_query("... !").record) is None
    assert TextEmbedding(source="stored")(query.record) is None
    assert "text_tokens" in query.query.remedy


def test_a_sentence_becomes_tokens_as_a_description_does():
    record = example_records()[0]
    featurizer = featurizer_for(TextTransformerSettings())
    found = featurizer(read_query(record.parts["text"]).record)
    np.testing.assert_array_equal(found["token_ids"], featurizer(record)["token_ids"])


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("Xx2O3", "Xx: no such element"),
        ("NaCl(", "NaCl"),
        ("perovskite", "nor a formula"),
        ("absent.cif", "no such file"),
    ],
)
def test_what_is_no_query_is_said(given, reason):
    with pytest.raises(UserError, match=reason):
        read_query(given)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.cif", "data_nothing\n", "no crystal"),
        ("a.csv", "energy,dos\n0,1\n", "no energies_ev"),
        ("a.csv", "energies_ev,dos\n1,1\n0,1\n", "energies_ev must increase"),
        ("a.npz", "no zip", "a.npz"),
        ("a.xy", "", "empty file"),
        ("a.xy", "10 1\n10 2\n", "two theta must increase"),
        ("a.xy", "10 nan\n11 2\n", "not finite"),
        ("a.xy", "angle counts\n11 2\n11 many\n", "not two or three numbers"),
        ("a.xrdml", "<a>", "cut off or damaged"),
        ("DOSCAR", "", "head of the DOSCAR"),
        ("a.txt", " ", "empty"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(tmp_path, name, content, reason):
    file = tmp_path / name
    file.write_text(content)
    with pytest.raises(UserError, match=reason) as caught:
        read_query(str(file))
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"), [("a.raw", "RAW1.01"), ("a.csv", "id,gap\nmp-1,2\n"), ("b", "")]
)
def test_what_has_no_format_is_said_with_those_that_have(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match="kind of file cannot be read") as caught:
        read_query(str(tmp_path / name))
    for one in FORMATS.load_all().values():
        assert one.label in str(caught.value)
        assert one.patterns[0].removeprefix("*") in str(caught.value)


def test_every_ending_of_a_file_that_is_absent_is_known():
    for one in FORMATS.load_all().values():
        for pattern in one.patterns:
            if pattern.startswith("*."):
                with pytest.raises(UserError, match="no such file"):
                    read_query(f"absent{pattern[1:]}")


def test_a_structure_that_could_not_be_stored_is_refused(tmp_path):
    crystal = Structure(Lattice.cubic(4), ["Na", "Na"], [[0, 0, 0], [0.01, 0, 0]])
    (tmp_path / "a.cif").write_text(str(CifWriter(crystal)))
    with pytest.raises(UserError, match="overlapping atoms"):
        read_query(str(tmp_path / "a.cif"))


@pytest.fixture
def several(monkeypatch, sought):
    """A format whose file has a line for each entry, with the parts that it holds."""

    def read(path, reading, start, stop):
        for line in path.read_text().splitlines()[start:stop]:
            names = line.split()
            if names == ["damaged"]:
                yield Failure("", "the entry is damaged")
            else:
                parts = {**sought.parts, "xrd": PATTERN, "dos": BOTH_SPINS, "charge_density": GRID}
                yield Record("", {name: parts[name] for name in names})

    module = types.ModuleType("several_formats")
    module.read = read
    module.FORMAT = Format("several", ("*.several",), "several_formats:read")
    monkeypatch.setitem(sys.modules, "several_formats", module)
    monkeypatch.setitem(FORMATS.ours, "several", "several_formats:FORMAT")


GRID = np.ones((2, 2, 2))
BOTH_SPINS = DensityOfStates(np.arange(3.0), np.ones(3), np.ones(3))
PATTERN = MeasuredPattern(np.arange(10, 20, dtype=np.float32), np.ones(10, dtype=np.float32))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "no entry"),
        ("structure\nstructure\n", "more than one entry"),
        ("damaged\n", "the entry is damaged"),
        ("charge_density\n", "charge_density"),
        ("dos xrd\n", "--modality dos or xrd"),
    ],
)
def test_a_file_must_hold_one_entry_to_ask_by(tmp_path, several, content, reason):
    (tmp_path / "a.several").write_text(content)
    with pytest.raises(UserError, match=reason):
        read_query(str(tmp_path / "a.several"))


@pytest.mark.parametrize(
    ("content", "modality", "chosen"),
    [
        ("dos xrd", "xrd", "xrd"),
        ("dos xrd", "dos", "dos"),
        ("structure dos", "structure", "structure"),
        ("structure dos", "composition", "structure"),
        ("structure charge_density", None, "structure"),
        ("text", None, "text"),
    ],
)
def test_the_modality_of_several_is_chosen(tmp_path, several, content, modality, chosen):
    (tmp_path / "a.several").write_text(content)
    asked = read_query(str(tmp_path / "a.several"), modality)
    assert asked.modality == chosen
    assert asked.query.part in asked.record.parts


def test_a_curve_with_its_spins_needs_no_guess(tmp_path, several, query_files):
    (tmp_path / "a.several").write_text("dos")
    assert read_query(str(tmp_path / "a.several")).notes(DosCurve()) == []
    assert "spin up" in read_query(query_files["dos"]).notes(DosCurve())[0]


def test_a_pattern_beyond_the_grid_is_refused(tmp_path):
    file = tmp_path / "far.xy"
    file.write_text("100 1\n110 2\n")
    with pytest.raises(ValueError, match="no intensity in the range"):
        XrdPattern()(read_query(str(file)).record)
