"""A result that was checked is made again: the same is no error, another is refused at once."""

import shutil

import pytest
from safetensors.numpy import load_file, save_file

from omnimat.base.errors import UserError
from omnimat.evaluation.evaluate import evaluate
from omnimat.finetune.plan import make_plan
from omnimat.finetune.repeat import expected_ids, refuse_other_trials
from omnimat.models.inputs import read_cards
from omnimat.testing.leased import leased


@pytest.fixture
def again(bench):
    """Begin the sweep again, up to where it would train."""

    def begin():
        settings, cards = bench.sweep_settings("structure"), read_cards(bench.workspace.run("pre"))
        plan = make_plan(settings, bench.workspace, cards)
        refuse_other_trials(bench.store, settings, plan, cards, bench.workspace.files)
        return expected_ids(settings, plan, cards, 0)

    return begin


def train_anew(bench):
    """What a pretraining with --fresh would leave on a GPU: almost the same encoders."""
    path = bench.file("runs/pre/export/structure/model.safetensors")
    weights = load_file(path)
    name = next(name for name, array in weights.items() if array.ndim == 2)
    weights[name] = weights[name] * 1.001
    save_file(weights, path)


def test_the_ids_are_known_before_any_training(bench, again):
    assert again() == {row.row_id for row in bench.rows["structure"]}


def test_a_sweep_that_was_checked_may_run_again_and_says_so(bench, again, capsys):
    rows = bench.rows["structure"]
    bench.store.upsert(rows)
    again()
    assert "checked before" not in capsys.readouterr().out
    bench.verify()
    again()
    assert f"{len(rows)} of the {len(rows)} rows to come were checked" in capsys.readouterr().out
    before = bench.store.rows()
    bench.store.upsert([row.model_copy(update={"wall_time_s": 9.0}) for row in rows])
    assert bench.store.rows() == before


def test_a_sweep_on_other_encoders_is_refused_before_it_trains(bench, again):
    rows = bench.rows["structure"]
    bench.store.upsert(rows)
    train_anew(bench)
    again()  # nobody has checked the rows, so they may be replaced
    bench.verify()
    with pytest.raises(UserError, match=r"with other encoders .* leaderboard remove"):
        again()
    for one in {row.group_id for row in rows}:
        bench.store.remove(one)
    again()


def test_a_sweep_whose_trials_are_gone_is_not_refused(bench, again):
    row, *_ = bench.rows["structure"]
    bench.store.upsert([row])
    bench.verify()
    shutil.rmtree(bench.file(row.checkpoint_uri).parent)
    train_anew(bench)
    again()


def test_an_evaluation_of_the_same_encoders_changes_nothing(bench, honest):
    shutil.copytree(str(honest[0].root / "features"), bench.workspace.root / "features")
    bench.store.upsert(bench.rows["clusters"])
    bench.verify()
    before = bench.store.rows()
    settings = bench.evaluate_settings("clusters")
    evaluate("again", settings, bench.workspace, leased(bench.workspace.run("again")))
    assert bench.store.rows() == before


def test_an_evaluation_of_other_encoders_is_refused_before_it_embeds(bench):
    """It would start a Ray, for the features are not here."""
    bench.store.upsert(bench.rows["clusters"])
    bench.verify()
    train_anew(bench)
    settings = bench.evaluate_settings("clusters")
    with pytest.raises(UserError, match=r"is recomputed and not replaced .*checkpoint_sha256"):
        evaluate("again", settings, bench.workspace, leased(bench.workspace.run("again")))
