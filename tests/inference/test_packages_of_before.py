"""Packages of every layout there has been are opened, and give the numbers that they gave."""

import json
from pathlib import Path

import numpy as np
import pytest

import omnimat
from omnimat.inference.package import Package

PACKAGES = Path(__file__).parents[1] / "fixtures" / "packages"
LAYOUTS = sorted(path.name for path in PACKAGES.glob("v*"))
# Sums are added up in another order by other versions of torch and on other processors.
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_package_of_before_gives_what_it_gave(layout):
    folder = PACKAGES / layout
    told = json.loads((folder / "expected.json").read_text())
    files = [folder / row["name"] for row in told["predictions"]]
    table = omnimat.load(folder / "predicts.zip", "cpu").predict(files)
    for row, now in zip(told["predictions"], table.to_dict("records"), strict=True):
        assert set(row) <= set(now)
        for key in set(row) - {"name"}:
            if isinstance(row[key], float):
                np.testing.assert_allclose(now[key], row[key], **TOLERANCE)
            else:
                assert now[key] == row[key]
    model = omnimat.load(folder / "embeds", "cpu")
    np.testing.assert_allclose(model.embed(files).vectors, told["structure"], **TOLERANCE)
    vectors = model.embed("LiFePO4", "composition").vectors
    np.testing.assert_allclose(vectors, told["composition"], **TOLERANCE)
    for name in ("embeds", "predicts.zip"):
        Package(folder / name).check()


def test_there_is_one_of_today():
    assert f"v{Package(PACKAGES / LAYOUTS[-1] / 'embeds').card.version}" == LAYOUTS[-1]
    for layout in LAYOUTS:
        files = (file for file in (PACKAGES / layout).rglob("*") if file.is_file())
        assert sum(file.stat().st_size for file in files) < 220_000
