import json

import numpy as np
import pandas as pd

from omnimat.base.json_records import as_records
from omnimat.cli.tables import write_table

TABLE = pd.DataFrame(
    {
        "name": ["é/a", None],
        "permeability_h_per_m": [3.2123456e-12, np.nan],
        "one_class": np.array([1.5, np.inf], np.float32),
        "space_group_number": pd.array([225, None], "Int64"),
        "is_known": [True, False],
        "lengths": [np.array([1e-20, np.nan]), None],
        "mixed": [np.float64(2e-15), "x"],
    }
)
ROWS = [
    {
        "name": "é/a",
        "permeability_h_per_m": 3.2123456e-12,
        "one_class": 1.5,
        "space_group_number": 225,
        "is_known": True,
        "lengths": [1e-20, None],
        "mixed": 2e-15,
    },
    dict.fromkeys(TABLE) | {"is_known": False, "mixed": "x"},
]


def test_every_digit_of_a_number_stays():
    assert as_records(TABLE) == ROWS


def test_json_lines_hold_what_the_table_holds(tmp_path):
    write_table(TABLE, tmp_path / "t.jsonl")
    assert [*map(json.loads, (tmp_path / "t.jsonl").read_text().splitlines())] == ROWS
    write_table(TABLE[:0], tmp_path / "empty.jsonl")
    assert (tmp_path / "empty.jsonl").read_text() == ""
