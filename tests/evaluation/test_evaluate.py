import copy
import json
from contextlib import contextmanager
from itertools import permutations

import numpy as np
import pytest
import torch
from torch.nn.modules.module import register_module_forward_hook
from upath import UPath

from omnimat.base.errors import RunError, UserError
from omnimat.base.lease import LostError
from omnimat.base.lease_files import FOLDER
from omnimat.base.provenance import sha256_of
from omnimat.evaluation.evaluate import evaluate
from omnimat.evaluation.ranks import rank_pairs
from omnimat.evaluation.settings import EvaluateSettings
from omnimat.leaderboard.overlap import overlap_in
from omnimat.leaderboard.store import LeaderboardStore
from omnimat.modalities.batch import collate
from omnimat.modalities.tensors import ModalityTensors
from omnimat.models.embed import ExportedEncoder
from omnimat.models.export import save
from omnimat.models.inputs import export_folder, read_cards
from omnimat.stream.location import StoreLocation
from omnimat.testing.leased import leased

pytestmark = [
    pytest.mark.ray,
    # Ray Data 2.60 sets deprecated defaults of its own.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context"),
]

BACK = "retrieval text -> structure (train split)"


@pytest.fixture(scope="module")
def store(workspace, pretraining):
    """The features, which the first evaluation has written."""
    return StoreLocation.of(workspace, "prototypes", pretraining.modalities.featurizers()).open()


@contextmanager
def threads_of_networks():
    """Note with how many threads the networks of this process compute."""
    seen: set[int] = set()
    hook = register_module_forward_hook(lambda *_: seen.add(torch.get_num_threads()))
    try:
        yield seen
    finally:
        hook.remove()


@pytest.fixture(scope="module")
def rows(on_ray, workspace):
    settings = EvaluateSettings(
        dataset="prototypes",
        run="pre",
        split="train",
        batch_size=8,
        discovery={"candidates": "test"},
        zero_shot={"tasks": [CUBIC]},
    )
    before = torch.get_num_threads()
    torch.set_num_threads(2)  # nobody but the job file may take these away
    with threads_of_networks() as seen:
        rows = evaluate("eval", settings, workspace, leased(workspace.run("eval")))
    torch.set_num_threads(before)
    assert seen == {2}
    return rows


CUBIC = {
    "name": "cubic or not",
    "target": "space_group_number",
    "threshold": {"value": 195, "below": "not cubic", "above": "cubic"},
    "prompts": {"cubic": ["The structure is cubic."], "not cubic": ["It is triclinic."]},
}


@pytest.fixture(scope="module")
def embeddings(rows, workspace):
    return np.load(workspace.run("eval") / "embeddings.npz", allow_pickle=False)


def test_every_finding_of_every_section_is_a_row(rows, workspace):
    pairs = permutations(("structure", "dos", "text"), 2)
    # Named by its split, since it is not the test split: training has seen these materials.
    assert {row.task for row in rows} == {
        *(f"retrieval {query} -> {key} (train split)" for query, key in pairs),
        "discovery dos -> structure (train split)",
        "zero-shot cubic or not of structure (train split)",
    }
    assert [row.metric for row in rows if row.task == BACK][:6] == [
        *("top-1", "top-5", "top-10", "top-25"),
        *("mean rank", "median rank"),
    ]
    assert {row.seed for row in rows} == {7}
    assert {row.model for row in rows} == {"pre"}
    assert len(LeaderboardStore(workspace.leaderboard_url).rows()) == len(rows)


def test_every_row_names_the_file_that_proves_it(rows, workspace):
    files = {row.task: UPath(row.predictions_uri).name for row in rows}
    assert files[BACK] == "embeddings.npz"
    assert files["discovery dos -> structure (train split)"] == "discovery.parquet"
    assert set(files.values()) == {
        *("embeddings.npz", "discovery.parquet", "zero_shot-cubic_or_not.parquet")
    }
    for row in rows:
        assert row.predictions_uri.startswith("runs/eval/")
        assert row.predictions_sha256 == sha256_of(workspace.root / row.predictions_uri)
        assert row.dataset_uri == "datasets/prototypes"
        assert "chance" in row.details


def test_every_row_tells_what_pretraining_saw(rows, embeddings):
    num_materials = len(embeddings["material_id"])
    for row in rows:
        overlap = overlap_in(row.details)
        assert (overlap.run, overlap.dataset) == ("pre", "prototypes")
        assert overlap.dataset_fingerprint == row.dataset_fingerprint
        part = overlap.parts["train"]  # pretraining has seen all of its own training split
        assert part.num_materials == part.same_formula == part.same_structure == num_materials


def test_what_a_section_was_told_sets_rows_apart(rows):
    configs = {(row.task, row.metric): row for row in rows}
    raw, aware = (configs[BACK, metric] for metric in ("top-1", "top-1, merged"))
    assert "duplicates" not in raw.config
    assert aware.config["duplicates"] == "symmetry"
    assert raw.config_hash != aware.config_hash
    (prompts,) = [row.config["zero_shot"] for row in rows if row.metric == "balanced_accuracy"]
    assert prompts["prompts"]["cubic"] == ["The structure is cubic."]


def test_how_training_was_spread_sets_no_rows_apart(rows):
    pretrain = rows[0].config["pretrain"]
    assert "lr" in pretrain["training"]
    assert {"num_workers", "use_gpu", "seed"}.isdisjoint(pretrain["training"])
    assert {"num_featurizers", "read_from"}.isdisjoint(pretrain["stream"])


def test_the_rows_follow_from_the_kept_embeddings(rows, embeddings):
    queries, keys = (torch.from_numpy(embeddings[name]) for name in ("text", "structure"))
    ranks = rank_pairs(queries, keys, embeddings["duplicate_group"])
    found = {row.metric: row for row in rows if row.task == BACK}
    assert found["top-5"].value == ranks.own.hit_rate(5)
    assert found["mean rank"].value == ranks.own.expected.mean()
    assert found["top-5, merged"].value == ranks.any_duplicate.hit_rate(5)
    assert found["top-5"].num_test == len(queries)
    assert found["top-5"].details["chance"] == pytest.approx(5 / len(queries))


def test_embeddings_are_those_of_the_pretrained_model(embeddings, store, model, pretraining):
    featurizers = pretraining.modalities.featurizers()
    positions = np.flatnonzero(store.records["split"] == "train")
    assert embeddings["material_id"].tolist() == store.records["material_id"][positions].tolist()
    batch = collate(store.table(positions), featurizers).modalities
    tensors = {name: ModalityTensors.from_numpy(arrays) for name, arrays in batch.items()}
    with torch.no_grad():
        expected = model(tensors, len(positions))[0]
    for name in ("structure", "dos", "text"):
        # In one batch rather than in eights: float32 sums in another order.
        np.testing.assert_allclose(embeddings[name], expected.values[name].numpy(), atol=1e-5)
        np.testing.assert_array_equal(embeddings[f"{name}_present"], expected.present[name])


def test_the_result_is_that_of_the_settings(rows, workspace):
    result = json.loads((workspace.run("eval") / "result.json").read_text())
    settings = EvaluateSettings.model_validate(result["settings"])
    assert result["config_hash"] == settings.fingerprint()
    assert len(result["rows"]) == len(rows)


def test_sections_are_chosen(rows, workspace):
    settings = EvaluateSettings(
        dataset="prototypes", run="pre", retrieval={"pairs": [("text", "structure")]}
    )
    # On the test split a task needs no more name.
    assert {
        row.task for row in evaluate("unseen", settings, workspace, leased(workspace.run("unseen")))
    } == {"retrieval text -> structure"}
    with pytest.raises(ValueError, match="every section is null"):
        EvaluateSettings(dataset="prototypes", run="pre", retrieval=None)


def test_an_evaluation_that_was_taken_over_writes_nothing(rows, workspace):
    settings = EvaluateSettings(
        dataset="prototypes", run="pre", retrieval={"pairs": [("text", "structure")]}
    )
    first = leased(workspace.run("lost"))
    leased(workspace.run("lost"))
    with pytest.raises(LostError, match="was taken over by"):
        evaluate("lost", settings, workspace, first)
    assert [path.name for path in workspace.run("lost").iterdir()] == [FOLDER]


def test_an_encoder_that_diverged_is_named(rows, store, workspace, model, tmp_path):
    encoder = copy.deepcopy(model.encoders["text"])
    torch.nn.init.constant_(encoder.head.bias, torch.nan)
    save(UPath(tmp_path), encoder, read_cards(workspace.run("pre"))["text"])
    with pytest.raises(RunError, match="embeddings that are not finite"):
        ExportedEncoder.load(UPath(tmp_path)).embed_stored(store, np.arange(3))


def test_a_card_of_another_version_is_the_users_error(tmp_path):
    folder = export_folder(UPath(tmp_path), "dos")
    folder.mkdir(parents=True)
    (folder / "card.json").write_text('{"modality": "dos",\n"encoders": []}')
    with pytest.raises(UserError, match="cannot read") as caught:
        read_cards(UPath(tmp_path))
    assert "\n" not in str(caught.value)


def test_what_cannot_be_evaluated_is_said(rows, workspace):
    pair = EvaluateSettings(dataset="prototypes", run="pre", retrieval={"pairs": [("xrd", "text")]})
    with pytest.raises(UserError, match="both of xrd -> text"):
        evaluate("wrong", pair, workspace, leased(workspace.run("wrong")))
    with pytest.raises(UserError, match="run the pretrain job"):
        evaluate(
            "wrong",
            pair.model_copy(update={"run": "absent"}),
            workspace,
            leased(workspace.run("wrong")),
        )
    with pytest.raises(UserError, match="no exported encoder"):
        read_cards(workspace.run("absent"))
