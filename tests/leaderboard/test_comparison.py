"""Results of one board side by side: what is paired with what, and what is said of it."""

import hashlib
from dataclasses import astuple

import numpy as np
import pandas as pd
import pytest
from upath import UPath

from omnimat.base.confined import Confined
from omnimat.base.errors import UserError
from omnimat.leaderboard.comparison import compare, material_scores
from omnimat.leaderboard.difference import difference
from omnimat.leaderboard.members import ENSEMBLE
from omnimat.leaderboard.predictions import read_predictions
from omnimat.leaderboard.report import comparison_text


def table(ids, target, prediction):
    return pd.DataFrame({"material_id": ids, "target": target, "prediction": prediction})


@pytest.fixture
def storage(tmp_path):
    return Confined(UPath(tmp_path))


IDS = [f"m{i}" for i in range(40)]


def test_materials_are_paired_by_id_whatever_their_order(make_rows, storage):
    generator = np.random.default_rng(7)
    target, errors = generator.normal(size=40), generator.normal(size=(3, 40))
    a = make_rows("a", [table(IDS, target, target + error) for error in errors[:2]])
    shuffled = generator.permutation(40)
    other = table(IDS, target, target + errors[2]).iloc[shuffled]
    b = make_rows("b", [pd.concat([other, table(["extra"], [0.0], [9.0])])])
    found = compare(a, b, storage)
    in_order = np.abs(errors)[:, np.argsort(IDS)]
    expected = difference(in_order[:2], in_order[2:])
    assert astuple(found.paired)[2:] == pytest.approx(astuple(expected)[2:], abs=1e-12)
    assert found.paired.num_materials == 40
    assert found.num_not_shared == 1


def test_folds_are_pooled_seed_by_seed(make_rows, storage):
    generator = np.random.default_rng(9)
    errors = {"a": generator.normal(size=(2, 40)), "b": generator.normal(size=(2, 40))}

    def of_folds(name, num_seeds):
        rows = []
        for fold, part in enumerate((slice(0, 15), slice(15, 40))):
            tables = [table(IDS[part], 0.0, error[part]) for error in errors[name][:num_seeds]]
            rows += make_rows(f"{name}{fold}", tables, model=name, task=f"gap, fold {fold} of 2")
        return rows

    found = compare(of_folds("a", 2), of_folds("b", 1), storage)
    whole = [make_rows(n, [table(IDS, 0.0, e) for e in errors[n]]) for n in "ab"]
    expected = compare(whole[0], whole[1][:1], storage)
    assert found.paired == expected.paired
    assert found.paired.num_seeds == (2, 1)
    with pytest.raises(UserError, match="not every fold has every seed"):
        compare(of_folds("a", 2)[:3], of_folds("b", 1), storage)
    with pytest.raises(UserError, match="results of 1 and of 2 boards"):
        compare(of_folds("a", 1)[:1], of_folds("b", 1), storage)


def test_classes_are_right_or_wrong_and_more_is_better(make_rows, storage):
    right = ["cubic"] * 40
    wrong = ["cubic"] * 10 + ["trigonal"] * 30
    changes = {"metric": "accuracy", "unit": "", "higher_is_better": True}
    a = make_rows("a", [table(IDS, right, wrong)], **changes)
    b = make_rows("b", [table(IDS, right, right)], **changes)
    found = compare(a, b, storage)
    assert (found.paired.mean_a, found.paired.mean_b) == (0.25, 1.0)
    assert found.verdict.startswith("B is better: A - B = -0.75 (95 % interval")


def test_components_of_a_material_are_one_score(make_rows, storage):
    [row] = make_rows("a", [table(["x", "y"], [[1.0, 2.0], [0.0, 0.0]], [[2.0, 4.0], [0.0, 1.0]])])
    assert material_scores(row, storage).to_dict() == {"x": 1.5, "y": 0.5}


def test_a_difference_that_is_none_is_said_to_be_none(make_rows, storage):
    generator = np.random.default_rng(8)
    tables = [table(IDS, np.zeros(40), generator.normal(size=40)) for _ in range(2)]
    found = compare(make_rows("a", tables[:1]), make_rows("b", tables[1:]), storage)
    assert found.verdict.startswith("no difference is shown: ")
    assert "not other seeds, since A and B have only one" in found.scope


def test_few_materials_give_numbers_and_no_verdict(make_rows, storage):
    few = IDS[:19]
    a, b = (
        make_rows(n, [table(few, np.zeros(19), np.full(19, e))]) for n, e in (("a", 1), ("b", 2))
    )
    found = compare(a, b, storage)
    assert found.better == ""
    assert found.verdict.startswith("no verdict, since it takes 20 materials, and there are 19: ")
    assert "A - B = -1 eV/atom (95 % interval -1 to -1 eV/atom" in found.verdict
    one = compare(*(make_rows(n, [table(["x"], [0.0], [1.0])]) for n in "ab"), storage)
    assert one.verdict.endswith("and there is 1: A - B = 0 eV/atom")


def test_a_single_seed_on_one_side_is_named(make_rows, storage):
    tables = [table(IDS, np.zeros(40), np.full(40, one)) for one in (1.0, 1.5, 2.0)]
    assert (
        "since B has only one"
        in compare(make_rows("a", tables[:2]), make_rows("b", tables[2:]), storage).scope
    )
    assert (
        "and other seeds" in compare(make_rows("a", tables), make_rows("c", tables), storage).scope
    )


def test_a_mean_of_networks_counts_as_one_and_not_as_a_seed(make_rows, storage):
    tables = [table(IDS, np.zeros(40), np.full(40, one)) for one in (1.0, 1.5, 2.0)]
    mean = make_rows("a", tables[:1], section=ENSEMBLE)
    told = comparison_text(compare(mean, make_rows("b", tables[1:]), storage))
    assert "(one such mean): 1 " in told
    assert "(2 seeds): 1.75 " in told


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "other"}, "not on one board: task differ"),
        ({"metric": "rmse"}, "not on one board: metric differ"),
        ({"predictions_sha256": "0"}, "was changed after the row was written"),
        ({"predictions_uri": "/nowhere/p.parquet"}, "/nowhere/p.parquet"),
        ({"predictions_uri": "embeddings.npz"}, "cannot be compared material by material"),
    ],
)
def test_rows_that_cannot_be_compared_say_why(make_rows, storage, changes, message):
    a = make_rows("a", [table(IDS, np.zeros(40), np.ones(40))])
    b = make_rows("b", [table(IDS, np.zeros(40), np.ones(40))], **changes)
    with pytest.raises(UserError, match=message):
        compare(a, b, storage)


@pytest.mark.parametrize("content", [b"", b"PAR1 no table PAR1", b"PAR1\0\0\0\x7fPAR1"])
def test_predictions_that_are_no_table_are_a_sentence(make_rows, storage, content):
    [row] = make_rows("a", [table(IDS, 0.0, 1.0)])
    (storage.root / row.predictions_uri).write_bytes(content)
    changed = row.model_copy(update={"predictions_sha256": hashlib.sha256(content).hexdigest()})
    with pytest.raises(UserError, match="is no Parquet file that can be read"):
        compare([changed], [row], storage)


def test_predictions_of_no_reasonable_size_are_not_read(make_rows, storage):
    [row] = make_rows("a", [table(IDS, 0.0, 1.0)])
    with pytest.raises(UserError, match=r"has [\d,]+ bytes, of which 100 are read"):
        read_predictions(row, storage, max_bytes=100)


def test_a_material_that_is_predicted_twice_is_refused(make_rows, storage):
    a = make_rows("a", [table(["x", "x"], [0.0, 0.0], [1.0, 2.0])])
    with pytest.raises(UserError, match="predicted twice"):
        compare(a, a, storage)


def test_rows_without_a_material_in_common_say_so(make_rows, storage):
    a = make_rows("a", [table(["x"], [0.0], [1.0])])
    b = make_rows("b", [table(["y"], [0.0], [1.0])])
    with pytest.raises(UserError, match="no material in common"):
        compare(a, b, storage)
