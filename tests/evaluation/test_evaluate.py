import copy
import json

import numpy as np
import pytest
import ray
import torch
from upath import UPath

from omnimat.encoders.batch import ModalityTensors
from omnimat.encoders.export import Card, save
from omnimat.encoders.multimodal import Multimodal
from omnimat.evaluation.embed import embed
from omnimat.evaluation.evaluate import evaluate
from omnimat.evaluation.inputs import export_folder, read_cards
from omnimat.evaluation.retrieval import retrieval_ranks
from omnimat.evaluation.settings import EvaluateSettings
from omnimat.features.batch import collate
from omnimat.leaderboard.store import LeaderboardStore
from omnimat.materials.errors import RunError, UserError
from omnimat.materials.provenance import sha256_of
from omnimat.materials.workspace import Workspace
from omnimat.sources.ingest import ingest
from omnimat.sources.prototypes import Prototypes
from omnimat.sources.settings import IngestSettings
from omnimat.stream.location import StoreLocation
from omnimat.training.settings import PretrainSettings

pytestmark = [
    pytest.mark.ray,
    # Ray Data 2.60 sets deprecated defaults of its own.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context"),
]

PRETRAINING = PretrainSettings(
    dataset="prototypes",
    modalities={
        "structure": {
            "featurizer": {"lattice_sums": "none", "max_neighbors": 8},
            "encoder": {"preset": "tiny", "lattice_sums": False},
        },
        "text": {"featurizer": {"source": "hashed"}, "encoder": {"preset": "tiny"}},
    },
    embedding_dim=16,
    objective={"type": "clip"},
    training={"seed": 7},
)
BACK = "retrieval text -> structure (train split)"


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    encoders = {
        name: choice.encoder.build(16) for name, choice in PRETRAINING.modalities.chosen().items()
    }
    return Multimodal(encoders, 16, 0.2, False).eval()


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, model):
    """Forty prototypes, and a run ``pre`` with random encoders; no feature store yet."""
    workspace = Workspace(UPath(tmp_path_factory.mktemp("storage")))
    run = workspace.run("pre")
    for name, choice in PRETRAINING.modalities.chosen().items():
        card = Card(
            modality=name,
            encoder=choice.encoder,
            featurizer=choice.featurizer.model_dump(),
            embedding_dim=16,
            parent_run="pre",
            config_hash=PRETRAINING.fingerprint(),
            dataset_fingerprint="0",
            samples_seen=640,
        )
        save(export_folder(run, name), model.encoders[name], card)
    settings = PRETRAINING.model_dump(mode="json")
    (run / "result.json").write_text(json.dumps({"settings": settings}))
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    source = IngestSettings(source=Prototypes(num_materials=40, max_atoms=8), records_per_shard=20)
    ingest(source, "prototypes", workspace.dataset("prototypes"), report_progress=False)
    yield workspace
    ray.shutdown()


@pytest.fixture(scope="module")
def rows(workspace):
    settings = EvaluateSettings(dataset="prototypes", run="pre", split="train", batch_size=8)
    return evaluate("eval", settings, workspace)


@pytest.fixture(scope="module")
def embeddings(rows, workspace):
    return np.load(workspace.run("eval") / "embeddings.npz", allow_pickle=False)


def test_every_ordered_pair_and_metric_has_a_row(rows, workspace):
    pairs = {row.task for row in rows}
    # Named by its split, since it is not the test split: training has seen these materials.
    assert pairs == {"retrieval structure -> text (train split)", BACK}
    assert [row.metric for row in rows if row.task == BACK] == [
        *("top-1", "top-5", "top-10", "top-25"),
        *("mean rank", "median rank"),
    ]
    assert {row.higher_is_better for row in rows if row.metric.startswith("top")} == {True}
    assert {row.higher_is_better for row in rows if row.metric.endswith("rank")} == {False}
    assert {row.seed for row in rows} == {7}
    assert len(LeaderboardStore(workspace.leaderboard_url).rows()) == len(rows) == 12


def test_the_rows_follow_from_the_kept_embeddings(rows, embeddings):
    queries, keys = (torch.from_numpy(embeddings[name]) for name in ("structure", "text"))
    ranks = retrieval_ranks(queries, keys)
    found = {row.metric: row for row in rows if row.task != BACK}
    assert found["top-5"].value == ranks.hit_rate(5)
    assert found["mean rank"].value == ranks.expected.mean()
    assert found["top-5"].num_test == len(queries)
    assert found["top-5"].hyperparameters["chance"] == 5 / len(queries)
    assert found["top-5"].predictions_sha256 == sha256_of(UPath(found["top-5"].predictions_uri))


def test_embeddings_are_those_of_the_pretrained_model(embeddings, workspace, model):
    featurizers = PRETRAINING.modalities.featurizers()
    store = StoreLocation.of(workspace, "prototypes", featurizers).open()
    positions = np.flatnonzero(store.records["split"] == "train")
    assert embeddings["material_id"].tolist() == store.records["material_id"][positions].tolist()
    batch = collate(store.table(positions), featurizers).modalities
    tensors = {name: ModalityTensors.from_numpy(arrays) for name, arrays in batch.items()}
    with torch.no_grad():
        expected = model(tensors, len(positions))[0]
    for name in ("structure", "text"):
        # In one batch rather than in eights: float32 sums in another order.
        np.testing.assert_allclose(embeddings[name], expected.values[name].numpy(), atol=1e-5)
        np.testing.assert_array_equal(embeddings[f"{name}_present"], expected.present[name])


def test_the_report_states_pool_and_chance(rows, workspace):
    report = json.loads((workspace.run("eval") / "retrieval.json").read_text())
    (one,) = [pair for pair in report["retrieval"] if pair["query"] == "text"]
    assert one["key"] == "structure"
    assert one["num_candidates"] == report["num_records"] == rows[0].num_test
    assert one["chance_hit_rates"]["1"] == 1 / one["num_candidates"]
    result = json.loads((workspace.run("eval") / "result.json").read_text())
    settings = EvaluateSettings(dataset="prototypes", run="pre", split="train", batch_size=8)
    assert result["config_hash"] == settings.fingerprint()


def test_a_pair_is_reported_alone_on_request(rows, workspace):
    settings = EvaluateSettings(
        dataset="prototypes", run="pre", split="train", pairs=[("text", "structure")]
    )
    alone = evaluate("alone", settings, workspace)
    before = [row for row in rows if row.task == BACK]
    assert [row.value for row in alone] == [row.value for row in before]


def test_a_task_on_the_test_split_needs_no_more_name(workspace):
    settings = EvaluateSettings(dataset="prototypes", run="pre", pairs=[("text", "structure")])
    assert {row.task for row in evaluate("unseen", settings, workspace)} == {
        "retrieval text -> structure"
    }


def test_an_encoder_that_diverged_is_named(rows, workspace, model, tmp_path):
    encoder = copy.deepcopy(model.encoders["text"])
    torch.nn.init.constant_(encoder.head.bias, torch.nan)
    save(UPath(tmp_path), encoder, read_cards(workspace.run("pre"))["text"])
    store = StoreLocation.of(workspace, "prototypes", PRETRAINING.modalities.featurizers()).open()
    with pytest.raises(RunError, match="embeddings that are not finite"):
        embed(store, UPath(tmp_path), np.arange(3))


def test_a_card_of_another_version_is_the_users_error(tmp_path):
    folder = export_folder(UPath(tmp_path), "dos")
    folder.mkdir(parents=True)
    (folder / "card.json").write_text('{"modality": "dos",\n"encoders": []}')
    with pytest.raises(UserError, match="cannot read") as caught:
        read_cards(UPath(tmp_path))
    assert "\n" not in str(caught.value)


def test_what_cannot_be_evaluated_is_said(workspace):
    pair = EvaluateSettings(dataset="prototypes", run="pre", pairs=[("dos", "text")])
    with pytest.raises(UserError, match="both of dos -> text"):
        evaluate("wrong", pair, workspace)
    with pytest.raises(UserError, match="run the pretrain job"):
        evaluate("wrong", pair.model_copy(update={"run": "absent"}), workspace)
    with pytest.raises(UserError, match="no exported encoder"):
        read_cards(workspace.run("absent"))
