"""A card is held against its weights before anything is built."""

import resource

import pytest
from torch import nn
from upath import UPath

from omnimat.base.checked_json import read_checked_json, write_checked_json
from omnimat.base.errors import UserError
from omnimat.base.stored_file import StoredFile
from omnimat.modalities.registry import MODALITIES, encoder_classes
from omnimat.models.export import CARD_FILE, WEIGHTS_FILE, Card, load, save
from omnimat.models.header import MisfitError, check_network


def exported(folder, modality, encoder) -> UPath:
    card = Card(
        modality=modality,
        encoder=encoder,
        featurizer={},
        embedding_dim=8,
        parent_run="run",
        config_hash="0",
        dataset_fingerprint="0",
        samples_seen=0,
    )
    save(UPath(folder), card.build(), card)
    return UPath(folder)


def rewritten(folder, **encoder) -> None:
    """Write another card with a checksum of its own, as a stranger could."""
    content = read_checked_json(folder / CARD_FILE, "")
    content["encoder"] |= encoder
    write_checked_json(folder / CARD_FILE, content)


@pytest.mark.parametrize(
    ("modality", "encoder", "asked"),
    [
        ("structure", {"type": "cgcnn"}, {"num_convolutions": 20_000}),
        ("structure", {"type": "cgcnn"}, {"hidden_width": 20_000}),
        ("structure", {"type": "painn"}, {"num_layers": 20_000}),
        ("text", {"type": "text_transformer"}, {"num_blocks": 20_000}),
        ("text", {"type": "text_transformer"}, {"max_tokens": 2**40}),
        ("dos", {"type": "dos_transformer"}, {"num_blocks": 20_000}),
    ],
)
def test_a_card_that_asks_for_too_much_is_refused_at_once(modality, encoder, asked, tmp_path):
    folder = exported(tmp_path, modality, encoder | {"preset": "tiny"})
    load(folder)  # what is imported on the way is not measured
    rewritten(folder, **asked)
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=f"{tmp_path}.*cannot read.*network.*restore"):
        load(folder)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak_kib < 100 * 1024


def test_another_shape_and_another_layer_are_named(tmp_path):
    folder = exported(tmp_path, "text", {"type": "text_transformer", "preset": "tiny"})
    rewritten(folder, mlp_width=64)
    with pytest.raises(UserError, match=r"tensor blocks\.layers\.0\.linear1\.weight has shape"):
        load(folder)
    rewritten(folder, mlp_width=128, num_blocks=1)
    with pytest.raises(UserError, match=r"tensor blocks\.layers\.1.* is in the file and not"):
        load(folder)


# An encoder of properties has no inputs before it is fitted to a featurizer.
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_the_limits_leave_room_for_every_network_that_ships():
    """That of a language model has a test of its own, which stores and loads it."""
    for modality in MODALITIES.names:
        for encoder in encoder_classes(modality):
            if encoder.model_fields["type"].default == "huggingface_text":
                continue
            for preset in encoder.presets:
                settings = encoder(preset=preset)
                shapes = {k: tuple(v.shape) for k, v in settings.build(8).state_dict().items()}
                check_network(lambda settings=settings: settings.build(8), shapes, 2**30)


def test_a_network_of_the_right_names_in_a_tiny_file_is_refused():
    with pytest.raises(MisfitError, match="and the file less"):
        check_network(lambda: nn.Linear(20_000, 20_000), {"weight": (20_000, 20_000)}, 1_000)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:7],
        lambda data: b"\xff" * 8 + data[8:],
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data[:8] + b"[" + data[9:],
        lambda data: data[:8] + b"[" * int.from_bytes(data[:8], "little") + data[-100:],
        lambda data: data.replace(b'"shape":[', b'"shape":"', 1),
    ],
)
def test_a_damaged_header_is_refused(damage, tmp_path):
    folder = exported(tmp_path, "text", {"type": "text_mlp", "preset": "tiny"})
    path = folder / WEIGHTS_FILE
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    with pytest.raises(UserError, match=f"{path} was changed after it was written"):
        load(folder)
    content = read_checked_json(folder / CARD_FILE, "")
    content["weights"] = StoredFile.of(path.read_bytes()).model_dump()
    write_checked_json(folder / CARD_FILE, content)
    with pytest.raises(UserError, match=f"{tmp_path} holds an encoder that this version cannot"):
        load(folder)
