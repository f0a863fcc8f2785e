import pytest
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.modalities.text.mlp import TextMlpSettings
from omnimat.models.export import CARD_FILE, WEIGHTS_FILE, Card, load, save


def text_card() -> Card:
    return Card(
        modality="text",
        encoder=TextMlpSettings(preset="tiny"),
        featurizer={"type": "text_embedding"},
        embedding_dim=8,
        parent_run="pretrain-1",
        config_hash="0123",
        dataset_fingerprint="4567",
        samples_seen=1024,
    )


def test_a_remote_folder_serves_as_well() -> None:
    folder = UPath("memory://exports/text")
    card = text_card()
    save(folder, card.encoder.build(8), card)
    assert load(folder)[1] == card


def test_the_weights_are_read_once_and_patiently(monkeypatch) -> None:
    folder, card, asked = UPath("memory://patient/text"), text_card(), []
    save(folder, card.encoder.build(8), card)
    whole = type(folder.fs).cat_file

    def hesitating(self, path, *arguments, **options):
        asked.append(path.rpartition("/")[2])
        if len(asked) % 2:
            raise TimeoutError("the storage is busy")
        return whole(self, path, *arguments, **options)

    monkeypatch.setattr(type(folder.fs), "cat_file", hesitating)
    for other in ("info", "_open"):
        monkeypatch.setattr(type(folder.fs), other, lambda *_, **__: pytest.fail("more is read"))
    assert load(folder)[1] == card
    assert asked == [CARD_FILE] * 2 + [WEIGHTS_FILE] * 2


def test_an_empty_folder_is_the_users_error(tmp_path) -> None:
    with pytest.raises(UserError, match="no exported encoder"):
        load(UPath(tmp_path))


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        (CARD_FILE, b"{}", "cannot read"),
        (WEIGHTS_FILE, b"not tensors", "was changed after it was written"),
        (CARD_FILE, None, "cannot read"),
    ],
    ids=["card", "weights", "shape"],
)
def test_an_unreadable_export_is_the_users_error(
    file: str, content: bytes, said: str, tmp_path
) -> None:
    folder, card = UPath(tmp_path), text_card()
    save(folder, card.encoder.build(8), card)
    other = card.model_copy(update={"embedding_dim": 4}).model_dump_json().encode()
    (folder / file).write_bytes(other if content is None else content)
    with pytest.raises(UserError, match=said):
        load(folder)


def test_changed_weights_are_refused_and_a_lost_file_is_named(tmp_path) -> None:
    folder, card = UPath(tmp_path), text_card()
    save(folder, card.encoder.build(8), card)
    path = folder / WEIGHTS_FILE
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match=rf"{path} was changed after it was written.*restore"):
        load(folder)
    path.unlink()
    with pytest.raises(UserError, match="no exported encoder"):
        load(folder)


def test_an_export_of_an_older_version_is_loaded_with_a_line(tmp_path, capsys) -> None:
    folder, card = UPath(tmp_path), text_card()
    save(folder, card.encoder.build(8), card)
    (folder / CARD_FILE).write_text(card.model_dump_json())
    for _ in range(2):
        assert load(folder)[1] == card
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{folder / WEIGHTS_FILE} is not checked")
