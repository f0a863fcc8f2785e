import pytest
from pydantic import ValidationError

from omnimat.materials.split import SplitSettings, assign_split, split_sha256


def test_fractions_are_met_over_many_formulas():
    splits = [assign_split(f"A{i}B", None, SplitSettings()) for i in range(5000)]
    # Three standard deviations of a binomial of 5000 draws are at most 0.017.
    assert splits.count("train") / 5000 == pytest.approx(0.8, abs=0.02)
    assert splits.count("validation") / 5000 == pytest.approx(0.1, abs=0.02)


def test_a_formula_always_falls_in_the_same_split():
    settings = SplitSettings(train=0.4, validation=0.3, test=0.3)
    # Recorded values: a change of the hash would move materials between splits of data sets in use.
    assert [assign_split(f, None, settings) for f in ("NaCl", "SiO2", "TiO2", "Fe", "GaAs")] == [
        "train",
        "test",
        "test",
        "train",
        "test",
    ]


def test_another_seed_draws_another_split():
    formulas = [f"A{i}" for i in range(100)]
    one = [assign_split(f, None, SplitSettings()) for f in formulas]
    other = [assign_split(f, None, SplitSettings(seed=1)) for f in formulas]
    assert one != other


def test_a_published_split_wins():
    everything_in_train = SplitSettings(train=1, validation=0, test=0)
    assert assign_split("NaCl", "test", everything_in_train) == "test"
    assert assign_split("NaCl", None, everything_in_train) == "train"
    with pytest.raises(ValueError, match="'val' is not one of train, validation, test"):
        assign_split("NaCl", "val", everything_in_train)


def test_fractions_must_sum_to_one():
    with pytest.raises(ValidationError, match=r"must be 1, .* 0\.9"):
        SplitSettings(train=0.7)


def test_split_hash_ignores_order_but_not_content():
    pairs = [("a", "train"), ("b", "test")]
    assert split_sha256(pairs) == split_sha256(pairs[::-1])
    assert split_sha256(pairs) != split_sha256([("a", "test"), ("b", "train")])
