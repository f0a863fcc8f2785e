"""A board as a table for a paper."""

from __future__ import annotations

from collections.abc import Sequence

from omnimat.base.characters import escaped
from omnimat.leaderboard.board import Summary, untold_variant
from omnimat.leaderboard.contest import Contest
from omnimat.leaderboard.marks import Marks
from omnimat_dashboard.text import Scale, words

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "→": r"$\rightarrow$",
    "Å": r"\AA{}",
    "°": r"\textdegree{}",
    "²": r"\textsuperscript{2}",
    "³": r"\textsuperscript{3}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}
_NOTE = "% Needs \\usepackage{booktabs}. Bold: the best; =: not shown to differ from the best."


def as_latex(contest: Contest, summaries: Sequence[Summary], marks: Marks) -> str:
    """Write a line for each result, with the digits of the pages; the best is bold.

    Args:
        contest: what is ranked on the board, or means over folds.
        summaries: those of its results that are wanted, in the order of the lines.
        marks: how they stand to the best, which is a matter of the whole board.
    """
    board = contest.board
    scale = Scale.of(board)
    arrow = r"$\uparrow$" if scale.higher_is_better else r"$\downarrow$"
    lines = [
        rf"{_text(_name(one))} & {_score(one, scale, marks)} & {contest.extent(one)} \\"
        for one in summaries
    ]
    return "\n".join(
        [
            f"% {_comment(f'{board.task} on {board.dataset}, split {board.split_sha256}')}",
            _NOTE,
            r"\begin{tabular}{lrl}",
            r"\toprule",
            rf"Model & {_text(scale.label)} {arrow} & Mean of \\",
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            "",
        ]
    )


def _name(one: Summary) -> str:
    return ", ".join(filter(None, (one.model, words(untold_variant(one.model, one.variant)))))


def _score(one: Summary, scale: Scale, marks: Marks) -> str:
    mean, *deviation = scale.of_summary(one).split(" ± ")
    mark = marks.of.get(one.group_id)
    kind = mark.kind if mark else ""
    told = rf"\textbf{{{mean}}}" if kind == "best" else mean
    spread = "".join(rf" $\pm$ {one}" for one in deviation)
    return f"{told}{spread}{'$^{=}$' if kind == 'tied' else ''}"


def _text(text: str) -> str:
    """Escape what LaTeX would obey, and what nobody sees."""
    return "".join(_SPECIAL.get(sign, sign) for sign in escaped(text, allowed=""))


def _comment(text: str) -> str:
    return escaped(text, allowed="")
