import dataclasses
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError
from sklearn import metrics as reference
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.evaluation.zero_shot import PromptTask, ZeroShotSettings, prompt_embedding
from omnimat.materials.targets import Threshold
from omnimat.objectives.embeddings import Embeddings

SYSTEMS = (
    *("triclinic", "monoclinic", "orthorhombic", "tetragonal"),
    *("trigonal", "hexagonal", "cubic"),
)
CRYSTAL_SYSTEM = PromptTask(
    name="crystal system",
    target="crystal_system",
    prompts={
        system: (f"It crystallizes in the {system} space group.", f"The structure is {system}.")
        for system in SYSTEMS
    },
)
DENSE = PromptTask(
    name="dense or not",
    target="density_g_per_cm3",
    threshold=Threshold(value=5.0, below="light", above="dense"),
    prompts={"light": ("It is light.",), "dense": ("It is dense.",)},
)


@pytest.fixture
def encoder(embedder):
    return embedder.encoder("text")


def with_structures(split, values):
    """The split, its structures embedded elsewhere."""
    embeddings = Embeddings(
        {**split.embeddings.values, "structure": values}, split.embeddings.present
    )
    return dataclasses.replace(split, embeddings=embeddings)


def evaluate(split, folder, *tasks):
    findings = ZeroShotSettings(tasks=tasks).evaluate(split, UPath(folder))
    return {(one.task, one.metric): one for one in findings}


def test_structures_where_their_sentences_are_take_their_label(split, encoder, tmp_path):
    placed = torch.stack(
        [
            prompt_embedding(encoder, CRYSTAL_SYSTEM.prompts[known["crystal_system"]])
            for known in split.properties
        ]
    )
    found = evaluate(with_structures(split, placed), tmp_path, CRYSTAL_SYSTEM)
    task = "zero-shot crystal system of structure"
    assert found[task, "accuracy"].value == found[task, "balanced_accuracy"].value == 1
    details = found[task, "accuracy"].details
    systems = [known["crystal_system"] for known in split.properties]
    assert details["num_per_class"] == {s: systems.count(s) for s in sorted(set(systems))}
    assert details["majority"] == max(map(systems.count, systems)) / len(systems)
    assert details["chance"] == 1 / 7
    assert found[task, "balanced_accuracy"].details["majority"] == 1 / len(set(systems))


def test_scores_follow_from_the_predictions(split, tmp_path):
    found = evaluate(split, tmp_path, CRYSTAL_SYSTEM, DENSE)
    for task in (CRYSTAL_SYSTEM, DENSE):
        one = found[f"zero-shot {task.name} of structure", "accuracy"]
        other = found[f"zero-shot {task.name} of structure", "balanced_accuracy"]
        table = pq.read_table(tmp_path / one.predictions).to_pandas()
        assert list(table) == ["material_id", "target", "prediction", "split"]
        assert table["material_id"].tolist() == split.records["material_id"].tolist()
        assert set(table["split"]) == {"test"}
        pairs = table["target"], table["prediction"]
        assert one.value == pytest.approx(reference.accuracy_score(*pairs))
        recalls = reference.recall_score(*pairs, average=None, labels=sorted(set(table["target"])))
        assert other.value == pytest.approx(recalls.mean())
        assert list(one.details["per_class_accuracy"].values()) == pytest.approx(recalls.tolist())
    report = json.loads((tmp_path / "zero_shot.json").read_text())
    assert [one["value"] for one in report["findings"]] == [one.value for one in found.values()]


def test_the_nearest_label_is_chosen(split, encoder, tmp_path):
    evaluate(split, tmp_path, CRYSTAL_SYSTEM)
    prompts = [prompt_embedding(encoder, s).numpy() for s in CRYSTAL_SYSTEM.prompts.values()]
    table = pq.read_table(tmp_path / "zero_shot-crystal_system.parquet").to_pandas()
    for row, prediction in enumerate(table["prediction"]):
        cosines = [split.embeddings.values["structure"][row].numpy() @ p for p in prompts]
        assert prediction == SYSTEMS[int(np.argmax(cosines))]


def test_several_sentences_are_averaged_as_unit_vectors(encoder):
    sentences = ["The structure is cubic.", "It is made of iron."]
    alone = [prompt_embedding(encoder, [sentence]) for sentence in sentences]
    both = prompt_embedding(encoder, sentences)
    assert both.norm() == pytest.approx(1)
    torch.testing.assert_close(both, torch.nn.functional.normalize(sum(alone), dim=0))


def test_a_sentence_is_embedded_as_a_description_is(split, encoder, embedder):
    """A material's own text as a prompt gives the embedding that its record has."""
    from omnimat.shards.codec import decode
    from omnimat.shards.reader import read_records

    (raw,) = read_records(embedder.dataset, split.records.iloc[:1])
    text = decode(raw.material_id, raw.members).parts["text"]
    # In a batch of one rather than of all: float32 sums in another order.
    torch.testing.assert_close(
        prompt_embedding(encoder, [text]), split.embeddings.values["text"][0], atol=1e-5, rtol=0
    )


def test_a_threshold_makes_two_labels():
    assert [DENSE.truth({"density_g_per_cm3": d}) for d in (4.9, 5.0)] == ["light", "dense"]
    metal = Threshold(value=1e-9, below="metal", above="nonmetal")
    assert [metal.label(gap) for gap in (0.0, 0.01)] == ["metal", "nonmetal"]
    assert DENSE.truth({}) is None


def test_materials_without_one_of_the_labels_are_left_out_and_counted(split, tmp_path):
    systems = [known["crystal_system"] for known in split.properties]
    two = sorted(set(systems), key=systems.count)[-2:]
    task = CRYSTAL_SYSTEM.model_copy(
        update={"prompts": {system: CRYSTAL_SYSTEM.prompts[system] for system in two}}
    )
    (one, _) = evaluate(split, tmp_path, task).values()
    assert one.num_test == sum(map(systems.count, two)) < len(systems)
    assert one.details["num_left_out"] == len(systems) - one.num_test


def test_what_cannot_be_sorted_is_said(split, embedder, encoder, tmp_path):
    unknown = CRYSTAL_SYSTEM.model_copy(update={"target": "band_gap_ev"})
    with pytest.raises(UserError, match="no test material with structure has a property"):
        evaluate(split, tmp_path, unknown)
    with pytest.raises(UserError, match="no encoder of xrd"):
        evaluate(split, tmp_path, CRYSTAL_SYSTEM.model_copy(update={"modality": "xrd"}))
    with pytest.raises(UserError, match="has no words"):
        prompt_embedding(encoder, ["..."])
    cards = {name: card for name, card in embedder.cards.items() if name != "text"}
    silent = dataclasses.replace(split, embedder=dataclasses.replace(embedder, cards=cards))
    with pytest.raises(UserError, match="no encoder of text"):
        evaluate(silent, tmp_path, CRYSTAL_SYSTEM)


def test_an_encoder_of_stored_embeddings_reads_no_sentence(encoder):
    for source in ("stored", "stored_or_hashed"):
        featurizer = {**encoder.card.featurizer, "source": source}
        card = encoder.card.model_copy(update={"featurizer": featurizer})
        with pytest.raises(UserError, match="cannot read a sentence"):
            prompt_embedding(dataclasses.replace(encoder, card=card), ["It is cubic."])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompts": {"light": ("a",), "dense": ()}}, "dense has no sentence"),
        ({"prompts": {"light": ("a",), "heavy": ("b",)}}, "threshold.below and .above"),
        ({"prompts": {"light": ("a",)}}, "at least 2"),
        ({"modality": "text"}, "text is what the sentences are"),
        ({"name": "../up"}, "pattern"),
    ],
)
def test_tasks_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(ValidationError, match=message):
        PromptTask.model_validate(DENSE.model_dump() | changes)


def test_two_tasks_of_one_name_are_refused():
    with pytest.raises(ValidationError, match="the same name"):
        ZeroShotSettings(tasks=[DENSE, DENSE])
