import pytest
import torch
from upath import UPath

from omnimat.encoders.export import CARD_FILE, WEIGHTS_FILE, Card, load, save
from omnimat.encoders.registry import DEFAULT_ENCODERS
from omnimat.materials.errors import UserError
from omnimat.materials.record import MODALITIES


def card_of(modality: str) -> Card:
    return Card(
        modality=modality,
        encoder=type(DEFAULT_ENCODERS[modality])(preset="tiny"),
        featurizer={"type": "any", "sigma_degrees": 0.3},
        embedding_dim=8,
        parent_run="pretrain-1",
        config_hash="0123",
        dataset_fingerprint="4567",
        samples_seen=1024,
    )


@pytest.mark.parametrize("modality", MODALITIES)
def test_what_is_saved_is_loaded(modality: str, tmp_path, make_arrays) -> None:
    card = card_of(modality)
    encoder = card.encoder.build(card.embedding_dim)
    arrays = make_arrays(modality, [4, 3])
    encoder(arrays)  # so that the running statistics differ from a fresh encoder's
    save(UPath(tmp_path / "export"), encoder, card)
    loaded, loaded_card = load(UPath(tmp_path / "export"))
    assert loaded_card == card
    assert not loaded.training
    torch.testing.assert_close(loaded(arrays), encoder.eval()(arrays), rtol=0, atol=0)


def test_a_remote_folder_serves_as_well() -> None:
    folder = UPath("memory://exports/text")
    card = card_of("text")
    save(folder, card.encoder.build(8), card)
    assert load(folder)[1] == card


def test_an_empty_folder_is_the_users_error(tmp_path) -> None:
    with pytest.raises(UserError, match="no exported encoder"):
        load(UPath(tmp_path))


@pytest.mark.parametrize(
    ("file", "content"),
    [(CARD_FILE, b"{}"), (WEIGHTS_FILE, b"not tensors"), (CARD_FILE, None)],
    ids=["card", "weights", "shape"],
)
def test_an_unreadable_export_is_the_users_error(file: str, content: bytes, tmp_path) -> None:
    folder, card = UPath(tmp_path), card_of("text")
    save(folder, card.encoder.build(8), card)
    other = card.model_copy(update={"embedding_dim": 4}).model_dump_json().encode()
    (folder / file).write_bytes(other if content is None else content)
    with pytest.raises(UserError, match="cannot read"):
        load(folder)
