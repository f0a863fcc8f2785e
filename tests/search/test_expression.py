import numpy as np
import pandas as pd
import pytest

from omnimat.base.errors import UserError
from omnimat.search.expression import MAX_CHARACTERS, parse

NAN = float("nan")
TABLE = pd.DataFrame(
    {
        "gap_ev": [0.0, 1.5, 3.0, NAN],
        "known.k_gpa": [100.0, NAN, 250.0, 300.0],
        "system": ["cubic", "trigonal", None, "cubic"],
        "last phdos-peak": [1.0, 2.0, 3.0, 4.0],
        "on": [1.0, 1.0, 1.0, 1.0],
    }
)


def holding(text):
    """The rows in which an expression holds."""
    return np.flatnonzero(parse(text).truth(TABLE.__getitem__).holds).tolist()


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("gap_ev > 1", [1, 2]),
        ("1 < gap_ev", [1, 2]),
        ("gap_ev<=1.5", [0, 1]),
        ("gap_ev == 3", [2]),
        ("gap_ev = 3", [2]),
        ("gap_ev != 3", [0, 1]),
        ("gap_ev > -1e-3", [0, 1, 2]),
        ("gap_ev >-.5", [0, 1, 2]),
        ("0 < gap_ev < 2", [1]),
        ("gap_ev < known.k_gpa", [0, 2]),
        ("system == 'cubic'", [0, 3]),
        ('system != "cubic"', [1]),
        ('system in ("cubic", "hexagonal")', [0, 3]),
        ('system not in ("cubic")', [1]),
        ("gap_ev in (0, 3)", [0, 2]),
        ("`last phdos-peak` >= 3", [2, 3]),
        ("on > 0 and gap_ev > 2", [2]),
        ("gap_ev > 2 or known.k_gpa > 260", [2, 3]),
        ("gap_ev > 2 or gap_ev < 1 and known.k_gpa < 200", [0, 2]),
        ("(gap_ev > 2 or gap_ev < 1) and known.k_gpa < 200", [0]),
        ("not gap_ev > 1", [0]),
        ("not (gap_ev > 1 and known.k_gpa > 1)", [0]),
        ("not not gap_ev > 1", [1, 2]),
    ],
)
def test_it_holds_where_it_should(text, rows):
    assert holding(text) == rows


def test_neither_a_condition_nor_its_negation_holds_for_what_is_not_known():
    for text in ("gap_ev > 1", "system == 'cubic'", "gap_ev > 1 and system == 'cubic'"):
        truth = parse(text).truth(TABLE.__getitem__)
        negated = parse(f"not ({text})").truth(TABLE.__getitem__)
        np.testing.assert_array_equal(truth.holds, negated.fails)
        assert not (truth.holds & truth.fails).any()
        assert not (truth.holds | truth.fails).all()


def test_it_agrees_with_pandas_where_all_is_known():
    """Pandas evaluates Python, which an expression of a stranger must not; here it is ours."""
    generator = np.random.default_rng(0)
    table = pd.DataFrame(generator.integers(0, 4, (200, 3)).astype(float), columns=list("abc"))

    def made(depth):
        if depth == 0:
            left, right = generator.choice(list("abc"), 2)
            sign = generator.choice(["<", "<=", ">", ">=", "==", "!="])
            other = right if generator.random() < 0.5 else f"{generator.integers(0, 4)}"
            return f"{left} {sign} {other}"
        one, two = made(depth - 1), made(depth - 1)
        kind = generator.choice(["({} and {})", "({} or {})", "not ({} or {})", "{} and {}"])
        return kind.format(one, two)

    for _ in range(100):
        text = made(3)
        found = np.flatnonzero(parse(text).truth(table.__getitem__).holds)
        np.testing.assert_array_equal(found, table.query(text, engine="python").index, text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "before the end"),
        ("gap_ev", "a comparison"),
        ("gap_ev >", "a name, a number or a text"),
        ("gap_ev > 1 gap_ev", "'and' or 'or' should stand before 'gap_ev'"),
        ("gap_ev > 1 &", "'&' cannot be read"),
        ("(gap_ev > 1", "'\\)' should stand before the end"),
        ("gap_ev > 1)", "before '\\)'"),
        ("2d_gap > 1", "backquotes"),
        ("last phdos-peak > 1", "backquotes"),
        ("__import__('os').system('id') == 0", "cannot be read"),
        ("gap_ev.__class__ > 1 ; 2", "cannot be read"),
        ("__import__('os') == 0", "a comparison"),
        ("[x for x in y]", "cannot be read"),
        ("gap_ev in 3", "'\\('"),
        ("gap_ev in ()", "a name, a number or a text"),
        ("gap_ev > 'much'", "compares a number with a text"),
        ("system > 'a'", "orders texts"),
        ("3 > 2", "compares no property"),
        ("'a' == 'a'", "compares no property"),
        ("(" * 1000 + "gap_ev > 1" + ")" * 1000, "stand in one another"),
        ("not " * 1000 + "gap_ev > 1", "stand in one another"),
        ("gap_ev > 1" + " " * MAX_CHARACTERS, "at most"),
        ("gap_ev > 1 and " * 10, "the end"),
    ],
)
def test_what_is_no_expression_is_said_in_one_sentence(text, reason):
    with pytest.raises(UserError, match=reason) as caught:
        holding(text)
    assert str(caught.value).startswith("where: ")
    assert len(str(caught.value)) < 250
    assert "\n" not in str(caught.value)


def test_many_conditions_may_stand_side_by_side():
    assert holding(" and ".join(["gap_ev > 1"] * 600)) == [1, 2]
    assert holding(" or ".join(["gap_ev > 1"] * 600)) == [1, 2]
