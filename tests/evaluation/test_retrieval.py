"""The section: pairs, pools and what is said of them. The ranks have tests of their own."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.evaluation.ranks import rank_pairs
from omnimat.evaluation.retrieval import RetrievalSettings
from omnimat.evaluation.retrieval_scores import MERGED, retrieval_table
from omnimat.objectives.embeddings import Embeddings

NUM, DIM = 211, 16
GROUPS = np.arange(NUM) // 2


@pytest.fixture(scope="module")
def embeddings():
    generator = torch.Generator().manual_seed(3)
    structure = torch.randn(NUM, DIM, generator=generator)
    values = {
        "structure": structure,
        "dos": structure + 1.5 * torch.randn(NUM, DIM, generator=generator),
        "text": torch.zeros(NUM, DIM),
    }
    present = {
        "structure": torch.ones(NUM, dtype=torch.bool),
        "dos": torch.arange(NUM) % 3 != 0,
        "text": torch.zeros(NUM, dtype=torch.bool),
    }
    return Embeddings(values, present)


@pytest.fixture(scope="module")
def findings(embeddings):
    settings = RetrievalSettings(pool_size=20, num_choices=(4, 10, 20))
    return settings.score(embeddings, GROUPS, "symmetry")


def of(findings, task):
    return {one.metric: one for one in findings if one.task == f"retrieval {task}"}


def test_every_ordered_pair_that_some_material_has_is_scored(findings):
    assert {one.task for one in findings} == {
        "retrieval structure -> dos",
        "retrieval dos -> structure",
    }
    metrics = [*(f"top-{k}" for k in (1, 5, 10, 25)), "mean rank", "median rank"]
    metrics += [*(f"top-{k} of 20" for k in (1, 3, 10)), *(f"1 of {t}" for t in (4, 10, 20))]
    assert list(of(findings, "dos -> structure")) == [
        *metrics,
        *(f"{metric}{MERGED}" for metric in metrics),
    ]
    assert {one.metric for one in findings if not one.higher_is_better} == {
        f"{name} rank{suffix}" for name in ("mean", "median") for suffix in ("", MERGED)
    }


def test_only_materials_with_both_are_ranked(findings, embeddings):
    both = embeddings.present["dos"].numpy()
    queries, keys = (embeddings.values[name][both] for name in ("dos", "structure"))
    ranks = rank_pairs(queries, keys, GROUPS[both])
    found = of(findings, "dos -> structure")
    assert found["top-5"].num_test == both.sum() == 140
    assert found["top-5"].value == ranks.own.hit_rate(5)
    assert found["mean rank"].value == ranks.own.expected.mean()
    assert found["mean rank"].details["chance"] == 70.5
    duplicates = found[f"top-5{MERGED}"]
    assert duplicates.value == ranks.any_duplicate.hit_rate(5) > found["top-5"].value
    assert duplicates.settings == {"duplicates": "symmetry"}
    assert duplicates.details["chance"] > found["top-5"].details["chance"]
    assert found[f"1 of 10{MERGED}"].value == ranks.own_among_others.choice_rate(10)


def test_pools_are_disjoint_and_drawn_by_a_seed(findings, embeddings):
    found = of(findings, "structure -> dos")["top-3 of 20"]
    assert found.num_test == 140
    assert found.details == {"chance": pytest.approx(3 / 20), "num_pools": 7, "left_over": 0}
    assert found.settings == {"pool_seed": 0}

    def hits(**settings):
        return of(RetrievalSettings(**settings).score(embeddings, GROUPS, "-"), "structure -> dos")

    assert hits(pool_size=20)["top-3 of 20"].value == found.value
    top_1 = [hits(pool_size=20, pool_seed=seed)["top-1 of 20"].value for seed in range(4)]
    assert len(set(top_1)) > 1
    uneven = hits(pool_size=60)["top-3 of 60"]
    assert (uneven.num_test, uneven.details["left_over"]) == (120, 20)
    # A pool of all materials is no other task than ranking among all.
    assert hits(pool_size=140)["top-10 of 140"].value == hits()["top-10"].value
    assert "top-3 of 141" not in hits(pool_size=141)


def test_pools_are_easier_than_the_whole_and_no_easier_than_they_say(embeddings):
    found = of(
        RetrievalSettings(pool_size=70).score(embeddings, np.arange(NUM), "-"), "dos -> structure"
    )
    assert found["top-10 of 70"].value > found["top-10"].value
    # Without duplicates both ways of counting are one.
    for metric, one in found.items():
        if not metric.endswith(MERGED):
            assert found[f"{metric}{MERGED}"].value == pytest.approx(one.value)


def test_pairs_are_chosen(findings, embeddings):
    settings = RetrievalSettings(
        pairs=[("dos", "structure")], pool_size=20, num_choices=(4, 10, 20)
    )
    alone = settings.score(embeddings, GROUPS, "symmetry")
    assert alone == list(of(findings, "dos -> structure").values())
    with pytest.raises(UserError, match="both of dos -> text"):
        RetrievalSettings(pairs=[("dos", "text")]).score(embeddings, GROUPS, "symmetry")
    only_text = Embeddings({"text": embeddings.values["text"]}, {"text": torch.ones(NUM).bool()})
    with pytest.raises(UserError, match="both of any pair"):
        RetrievalSettings().score(only_text, GROUPS, "symmetry")
    with pytest.raises(ValidationError, match="not retrieved by itself"):
        RetrievalSettings(pairs=[("dos", "dos")])


def test_the_table_lists_what_guessing_gives(findings):
    metrics = ["top-1", "mean rank", "top-1 of 1024"]
    table = retrieval_table("title", findings, metrics)
    cells = [list(column.cells) for column in table.columns]
    assert cells[0] == ["structure -> dos", "  by chance", "dos -> structure", "  by chance"]
    assert cells[1][1] == f"{100 / 140:.1f} %"
    assert cells[2][1] == "70.5"
    assert cells[3] == ["-"] * 4


def test_the_report_holds_every_finding(embeddings, tmp_path, capsys):
    class Split:
        """What the section asks of a split."""

        split, duplicates = "test", "symmetry"
        positions, duplicate_groups = np.arange(NUM), GROUPS

    Split.embeddings = embeddings
    findings = RetrievalSettings().evaluate(Split, UPath(tmp_path))
    report = json.loads((tmp_path / "retrieval.json").read_text())
    assert report["num_records"] == NUM
    table = pd.DataFrame(report["retrieval"])
    assert table["value"].tolist() == [one.value for one in findings]
    assert "among all, merged" in capsys.readouterr().out
