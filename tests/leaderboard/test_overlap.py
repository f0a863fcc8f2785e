"""What rows tell about the materials that pretraining has seen."""

import pytest

from omnimat.leaderboard.overlap import OVERLAP, TRAINING_OVERLAP, overlap_in, seen_in
from omnimat.leaderboard.report import overlaps_text
from omnimat.leaderboard.store import LeaderboardStore

TEST = {"num_materials": 1809, "same_formula": 12, "same_structure": 3}


LEARNED = {
    TRAINING_OVERLAP: {
        "dataset": "computed",
        "dataset_fingerprint": "0",
        "num_learned": 9,
        "test": TEST,
    }
}


def details(**test):
    told = {"run": "pre", "dataset": "all", "num_pretrained": 9, "parts": {"test": TEST | test}}
    return {OVERLAP: told}


@pytest.mark.parametrize(
    ("test", "parts"),
    [
        ({}, ["12 of 1,809 test materials", "3 with the same structure"]),
        ({"not_compared": 4}, ["12 of 1,809", "4 could not be compared"]),
        ({"same_formula": 1, "same_structure": 1}, ["1 of 1,809 test materials was seen", "its"]),
        ({"num_materials": 1, "same_formula": 1}, ["1 of 1 test material was seen"]),
        (
            {"same_formula": 0, "same_structure": 0},
            ["none of 1,809 test materials, nor any of their formulas, was seen in pretraining"],
        ),
    ],
)
def test_an_overlap_is_a_sentence(test, parts):
    sentence = overlap_in(details(**test)).sentence
    assert all(part in sentence for part in parts)
    assert "\n" not in sentence


def test_nobody_vouches_for_materials_without_a_formula():
    none = {"same_formula": 0, "same_structure": 0}
    all_of_them = overlap_in(details(**none, without_formula=1809)).sentence
    assert "whether any of 1,809 test materials was seen in pretraining is not known" in all_of_them
    some = overlap_in(details(**none, without_formula=9)).sentence
    assert some.startswith("none of 1,809 test materials")
    assert some.endswith("; of 9 this is not known: they have no formulas")


def test_what_was_learned_from_is_a_sentence_of_its_own():
    (told,) = seen_in(LEARNED)
    assert told.as_details() == LEARNED
    assert "12 of 1,809 test materials were seen in training or validation" in told.sentence
    assert [one.sentence for one in seen_in(details() | LEARNED)][1] == told.sentence


@pytest.mark.parametrize(
    "told",
    [
        {},
        None,
        [],
        {OVERLAP: None},
        {OVERLAP: "none"},
        {OVERLAP: {"run": "pre", "parts": {"test": TEST | {"same_formula": -1}}}},
        {OVERLAP: {"run": "pre", "parts": {"test": TEST | {"same_formula": "12"}}}},
        {OVERLAP: {"run": "pre", "parts": {"<b>": TEST}}},
        {OVERLAP: {"run": "pre", "parts": {"test": TEST | {"labels_seen": 2}}}},
    ],
)
def test_what_strangers_write_is_no_overlap(told):
    assert overlap_in(told) is None


def test_a_store_gives_overlaps_of_results(url, make_row):
    rows = [
        *(make_row(seed=seed, details=details() | {"chance": 0.5}) for seed in (0, 1)),
        make_row(model="other", seed=0, details=details(same_structure=1)),
        make_row(model="other", seed=1, details={OVERLAP: {"run": "pre", "unknown": "it is gone"}}),
        make_row(model="scratch"),
        make_row(model="odd", details={OVERLAP: [1]}),
        make_row(model="transferred", details=LEARNED),
    ]
    store = LeaderboardStore(url)
    store.upsert(rows)
    found = store.overlaps([row.group_id for row in rows])
    counts = {rows[0].group_id: 1, rows[2].group_id: 2, rows[6].group_id: 1}
    assert {one: len(overlaps) for one, overlaps in found.items()} == counts
    assert found[rows[2].group_id][1].unknown == "it is gone"


def text_of(store):
    summaries = store.summaries()
    return overlaps_text(summaries, store.overlaps(one.group_id for one in summaries))


def test_the_terminal_says_once_what_tasks_share(tmp_path, make_row):
    store = LeaderboardStore(f"sqlite:///{tmp_path / 'board.sqlite'}")
    store.upsert([make_row(model="scratch")])
    assert text_of(store) == ""
    store.upsert(make_row(task=task, details=details()) for task in ("gap", "energy", "modulus"))
    store.upsert(
        [make_row(model="[red]", details={OVERLAP: {"run": "x", "unknown": "it is gone"}})]
    )
    text = text_of(store)
    assert text.count("12 of 1,809 test materials") == 1
    assert "by the account of the rows (verify does not check it)" in text
    assert "energy and 2 more" in text
    assert "not known: it is gone" in text
    assert "[red]" in text


def test_the_terminal_obeys_no_name_of_a_stranger(tmp_path, make_row, execute):
    url = f"sqlite:///{tmp_path / 'board.sqlite'}"
    store = LeaderboardStore(url)
    unknown = {"run": "two\nlines", "unknown": "gone"}
    store.upsert([make_row(details={OVERLAP: unknown})])
    execute(url, "UPDATE leaderboard_groups SET model = char(27) || '[2J' || char(8238)")
    text = text_of(store)
    assert text.replace("\n", "").isprintable()
    assert r"\x1b[2J\u202e" in text
    assert r"run two\nlines" in text
