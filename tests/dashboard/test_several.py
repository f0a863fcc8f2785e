"""Comparisons of more than two results."""

import re

import pytest

from omnimat.leaderboard.marks import holm
from omnimat_dashboard.several import MAX_RESULTS


def test_p_values_are_corrected_for_the_number_of_pairs():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9]) == [0.9]
    assert holm([0.8, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def address(storage, task, names=("aligned", "scratch", "hostile")):
    return "/compare?" + "&".join(f"of={storage.groups[task, name]}" for name in names)


def test_every_pair_is_compared_once_and_the_best_is_first(client, storage):
    page = client.get(address(storage, "crystal system", ("hostile", "aligned", "scratch"))).text
    kinds = re.findall(r'class="pair-(\w+)"', page)
    assert len(kinds) == 6
    assert kinds.count("better") == kinds.count("worse")
    assert kinds[1] == "better"  # the best against the last
    places = [page.index(storage.groups["crystal system", name]) for name in ("aligned", "scratch")]
    assert places == sorted(places)
    assert "<code>start</code>" in page  # in what the configurations differ


def test_two_are_compared_as_ever(client, storage):
    page = client.get(address(storage, "crystal system", ("aligned", "scratch"))).text
    assert "Verdict" in page


def test_results_of_several_boards_say_nothing_of_each_other(client, storage):
    groups = storage.groups
    of = [groups["crystal system", "aligned"], groups["formation energy", "aligned"]]
    of.append(groups["formation energy", "scratch"])
    page = client.get("/compare?" + "&".join(f"of={one}" for one in of)).text
    assert "on different boards" in page
    assert "pair-" not in page


def test_too_many_or_unknown_results_are_not_there(client, storage):
    groups = list(dict.fromkeys(row.group_id for row in storage.rows))
    many = "&".join(f"of={one}" for one in groups[: MAX_RESULTS + 1])
    assert client.get(f"/compare?{many}").status_code == 404
    unknown = f"of={groups[0]}&of={groups[1]}&of=unknown"
    assert client.get(f"/compare?{unknown}").status_code == 404
