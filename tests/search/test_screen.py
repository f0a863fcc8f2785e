import numpy as np
import pytest
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.materials.record import Record
from omnimat.search.encoders import Encoders
from omnimat.search.index import write_index
from omnimat.search.materials import Chunk, Contents
from omnimat.search.screen import Criteria, Ranking, screened

NAMES = ["a", "b", "c", "d", "e"]
COLUMNS = {
    "reduced_formula": ["NaCl", "PbO", "O2", "CoO", None],
    "known.k_gpa": [10.0, None, 300.0, 210.0, 400.0],
    "predicted.k_gpa": [500.0, 250.0, None, 1.0, 2.0],
    "predicted.k_gpa_low": [400.0, 240.0, None, 0.5, 1.0],
    "predicted.k_gpa_high": [600.0, 260.0, None, 1.5, 3.0],
    "known.energy_above_hull_ev_per_atom": [0.0, 0.05, 0.2, None, 0.01],
    "known.space_group_number": [225, 129, 12, 300, None],
    "known.crystal_system": ["cubic", "tetragonal", "monoclinic", None, None],
    "known.phase": ["x", None, None, None, None],
    "predicted.phase": [1.0, 2.0, None, None, None],
    "known.lengths": [[1.0, 2.0], None, None, None, None],
    "known.nothing": [None] * 5,
}


@pytest.fixture(scope="module")
def encoders(workspace):
    return Encoders.of_run("pre", workspace.run("pre"))


@pytest.fixture(scope="module")
def index(encoders, tmp_path_factory, records):
    """Five materials, whose embeddings are those of crystals that have nothing to do with it."""
    encoder = encoders.load("structure")
    vectors = np.stack([encoder.embed_record(one).numpy() for one in records[:5]])
    chunk = Chunk(NAMES, vectors, [""] * 5, COLUMNS)
    place = tmp_path_factory.mktemp("screen") / "five"
    return write_index(UPath(place), encoders.origin("structure", "five"), Contents.of([chunk]))


@pytest.fixture
def names(encoders, index):
    """The names of what a screen finds."""

    def names(ranking=Ranking(), top=50, **criteria):  # noqa: B008 - it is frozen
        found = screened(encoders, index, Criteria(**criteria), ranking, top)
        return "".join(found.hits["name"])

    return names


@pytest.mark.parametrize(
    ("criteria", "expected"),
    [
        ({}, "abcde"),
        ({"where": "k_gpa > 200"}, "bcde"),  # known, or else predicted
        ({"where": "known.k_gpa > 200"}, "cde"),
        ({"where": "predicted.k_gpa > 200"}, "ab"),
        ({"where": "k_gpa_low > 200"}, "ab"),
        ({"where": "space_group_number == 225 or name == 'b'"}, "ab"),
        ({"where": "known.phase == 'x'"}, "a"),
        ({"where": "nothing > 0"}, ""),
        ({"elements": ["O"]}, "bcd"),
        ({"elements": ["O", "Co"]}, "d"),
        ({"elements": ["C"]}, ""),  # neither Cl nor Co
        ({"exclude_elements": ["Pb", "Na"]}, "cd"),  # of e nothing is known
        ({"elements": ["O"], "exclude_elements": ["Pb"]}, "cd"),
        ({"stable_ev_per_atom": 0.05}, "abe"),
        ({"where": "k_gpa > 20", "stable_ev_per_atom": 0.05}, "be"),
    ],
)
def test_materials_are_chosen(names, criteria, expected):
    assert names(**criteria) == expected


def test_they_are_ordered_by_a_property_or_by_name(names):
    assert names(Ranking(largest="k_gpa")) == "ecbda"
    assert names(Ranking(smallest="k_gpa"), top=2) == "ad"
    assert names(top=2) == "ab"


def test_they_are_ordered_by_similarity(encoders, index, records, names):
    query = Record("query", {"structure": records[2].structure})
    assert names(Ranking(near=query), top=1) == index.materials["name"][2]
    found = screened(encoders, index, Criteria("k_gpa < 280"), Ranking(near=query), 3)
    assert set(found.hits["name"]) == {"a", "b", "d"}
    expected = {
        name: round(float(vector @ index.embeddings[2]), 6)
        for name, vector in zip(index.materials["name"], index.embeddings, strict=True)
    }
    told = dict(zip(found.hits["name"], found.hits["similarity"], strict=True))
    # Both are rounded to six decimals, one of a product in single precision.
    assert told == pytest.approx({name: expected[name] for name in "abd"}, abs=2e-6)
    assert found.hits["similarity"].is_monotonic_decreasing


def test_hits_carry_what_is_known_and_predicted_with_intervals(encoders, index):
    found = screened(encoders, index, Criteria("k_gpa > 200"), Ranking(largest="k_gpa"), 50)
    hit = found.hits.set_index("name").loc["b"]
    assert (hit["rank"], hit["reduced_formula"], hit["space_group"]) == (3, "PbO", "P4/nmm")
    assert (hit["space_group_number"], hit["crystal_system"]) == (129, "tetragonal")
    assert np.isnan(hit["known.k_gpa"])
    interval = [hit[f"predicted.k_gpa{end}"] for end in ("_low", "", "_high")]
    assert interval == [240, 250, 260]
    assert found.columns == ["known.k_gpa", "predicted.k_gpa"]
    assert (found.num_chosen, found.num_materials) == (4, 5)
    assert found.hits["space_group_number"].isna().sum() == 2  # there is no group 300


def test_what_is_left_out_since_too_little_is_known_is_counted(encoders, index):
    criteria = Criteria("predicted.k_gpa > 1", ["O"], [], 0.1)
    notes = screened(encoders, index, criteria, Ranking(largest="known.k_gpa"), 50).notes
    assert [note.split()[0] for note in notes] == ["where", "stable", "elements", "largest"]
    assert all(note.endswith(": 1.") for note in notes)


@pytest.mark.parametrize(
    ("criteria", "ranking", "reason"),
    [
        ({"where": "k_gp > 1"}, {}, "knows no .k_gp.; did you mean .k_gpa. or .k_gpa_high."),
        ({"where": "k_pga > 1"}, {}, "did you mean .k_gpa."),
        ({"where": "zzz > 1"}, {}, "energy_above_hull_ev_per_atom, k_gpa"),
        ({"where": "lengths > 1"}, {}, "several numbers"),
        ({"where": "phase == 'x'"}, {}, r"write known\.phase or predicted\.phase"),
        ({"elements": ["Xx"]}, {}, "elements: 'Xx' is no element"),
        ({"exclude_elements": ["pb"]}, {}, "did you mean 'Pb'"),
        ({"stable_ev_per_atom": -1.0}, {}, "stable"),
        ({"stable_ev_per_atom": float("nan")}, {}, "stable"),
        ({}, {"largest": "crystal_system"}, "is no number"),
        ({}, {"smallest": "k"}, "smallest: the index knows no .k.; did you mean"),
        ({}, {"smallest": "k_gpa", "near": "NaCl"}, "one order"),
        ({}, {"near": "absent.cif"}, "no such file"),
    ],
)
def test_what_cannot_be_screened_is_said_in_one_sentence(
    encoders, index, criteria, ranking, reason
):
    with pytest.raises(UserError, match=reason) as caught:
        screened(encoders, index, Criteria(**criteria), Ranking(**ranking), 50)
    assert "\n" not in str(caught.value)


def test_another_model_is_refused(workspace, index):
    others = Encoders.of_run("two", workspace.run("two"))
    with pytest.raises(UserError, match="made by another model, 'pre'"):
        screened(others, index, Criteria(), Ranking(), 50)
