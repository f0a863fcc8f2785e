"""A board as LaTeX, in which no name is a command."""

from datetime import UTC, datetime

from omnimat.leaderboard.board import Board, Summary
from omnimat.leaderboard.contest import Contest
from omnimat.leaderboard.marks import Mark, Marks
from omnimat_dashboard.latex import as_latex

BOARD = Board("band gap", "mae", "eV", False, "mp20", "0", "1")


def result(model, mean, std=None) -> Summary:
    newest = datetime(2026, 11, 20, tzinfo=UTC)
    return Summary(
        BOARD, model, model, "frozen", "c", mean, std, 3, 1_940, (0, 1, 2), "recomputed", newest
    )


def test_the_best_is_bold_and_what_does_not_differ_is_marked():
    marks = Marks("", {"a": Mark("best", ""), "b": Mark("tied", ""), "c": Mark("worse", "")})
    found = [result("a", 0.1, 0.012), result("b", 0.11, 0.012), result("c", 0.2, 0.012)]
    lines = as_latex(Contest(BOARD, found), found, marks).splitlines()
    assert r"a, frozen & \textbf{0.100} $\pm$ 0.012 & 3 seeds \\" in lines
    assert r"b, frozen & 0.110 $\pm$ 0.012$^{=}$ & 3 seeds \\" in lines
    assert r"c, frozen & 0.200 $\pm$ 0.012 & 3 seeds \\" in lines
    assert r"Model & MAE (eV) $\downarrow$ & Mean of \\" in lines
    assert lines[-1] == r"\end{tabular}"


def test_no_name_is_a_command():
    found = [result("\\input{x} 10 % of a_b & $y$\n\\end", 0.1)]
    text = as_latex(Contest(BOARD, found), found, Marks("", {}))
    assert r"\textbackslash{}input\{x\} 10 \% of a\_b \& \$y\$" in text
    assert r"\textbackslash{}n\textbackslash{}end" in text
    assert r"\input" not in text
