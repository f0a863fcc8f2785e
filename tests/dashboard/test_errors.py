"""On what a model errs, by what is known of the materials."""

import numpy as np
import pandas as pd
import pytest

from omnimat_dashboard.errors import NUM_EXTREMES, errors_of
from omnimat_dashboard.periodic_table import MIN_COUNT, SHADES, periodic_errors


def table(predictions, targets=None) -> pd.DataFrame:
    ids = [f"mp-{place}" for place in range(len(predictions))]
    targets = [0.0] * len(predictions) if targets is None else targets
    return pd.DataFrame({"material_id": ids, "target": targets, "prediction": predictions})


def records(formulas, num_atoms) -> pd.DataFrame:
    ids = [f"mp-{place}" for place in range(len(formulas))]
    columns = {"material_id": ids, "reduced_formula": formulas, "num_atoms": num_atoms}
    return pd.DataFrame(columns).sample(frac=1, random_state=0)  # in another order


def test_errors_are_means_over_seeds_and_the_worst_come_first():
    seeds = [table([0.0, 1.0, -3.0]), table([0.0, 2.0, -5.0])]
    found = errors_of(seeds, records(["NaCl", "Si", None], [2, 2, 40]))
    assert [(one.material_id, one.error) for one in found.worst] == [
        ("mp-2", 4.0),
        ("mp-1", 1.5),
        ("mp-0", 0.0),
    ]
    assert [one.formula for one in found.worst] == ["", "Si", "NaCl"]
    assert (found.worst[0].target, found.worst[0].prediction) == (0.0, -4.0)
    assert found.best[0].material_id == "mp-0"
    assert [(one.name, one.count, one.error) for one in found.sizes] == [
        ("1 to 2", 2, 0.75),
        ("33 to 64", 1, 4.0),
    ]


def test_systems_are_in_order_and_few_materials_are_marked():
    errors = [1.0] * MIN_COUNT + [2.0] * MIN_COUNT + [9.0, 5.0]
    names = ["cubic"] * MIN_COUNT + ["triclinic"] * MIN_COUNT + ["hexagonal"]
    systems = {f"mp-{place}": name for place, name in enumerate(names)}  # of one it is not known
    found = errors_of([table(errors)], None, systems).systems
    assert [(one.name, one.count, one.error, one.is_few) for one in found] == [
        ("triclinic", MIN_COUNT, 2.0, False),
        ("hexagonal", 1, 9.0, True),
        ("cubic", MIN_COUNT, 1.0, False),
    ]
    assert [one.share for one in found] == [1.0, 1.0, 0.5]


def test_errors_of_classes_are_shares_that_are_wrong():
    targets = ["cubic", "cubic", "trigonal"]
    seeds = [table(["cubic", "trigonal", "cubic"], targets), table(["cubic"] * 3, targets)]
    found = errors_of(seeds, None)
    assert found.is_of_classes
    assert [one.error for one in found.worst] == [1.0, 0.5, 0.0]
    assert found.worst[0].prediction == "cubic"
    assert (found.elements, found.systems, found.sizes) == ([], [], [])


def test_errors_of_several_numbers_are_their_mean():
    target = [np.zeros(3), np.zeros(3)]
    found = errors_of([table([np.array([1.0, 2.0, 3.0]), np.zeros(3)], target)], None)
    assert found.worst[0].error == 2.0
    assert found.worst[0].prediction.tolist() == [1.0, 2.0, 3.0]


def test_no_more_than_some_materials_are_shown():
    found = errors_of([table(list(range(50)))], None)
    assert (len(found.worst), len(found.best)) == (NUM_EXTREMES, NUM_EXTREMES)
    assert found.num_materials == 50


def test_elements_have_the_errors_of_the_materials_with_them():
    formulas = pd.Series(["NaCl"] * MIN_COUNT + ["Na2O"] * MIN_COUNT + ["Xe"])
    errors = pd.Series([0.4] * MIN_COUNT + [0.2] * MIN_COUNT + [9.0])
    cells = {cell.symbol: cell for cell in periodic_errors(formulas, errors)}
    assert cells["Na"].error == pytest.approx(0.3)
    assert (cells["Na"].count, cells["Cl"].count) == (2 * MIN_COUNT, MIN_COUNT)
    assert (cells["Cl"].shade, cells["O"].shade) == (SHADES, SHADES // 2)
    assert (cells["Xe"].shade, cells["Xe"].error) == (0, 9.0)  # one says too little
    assert (cells["Fe"].count, cells["Fe"].error) == (0, None)
    assert len(cells) == len(set(cells)) > 90
