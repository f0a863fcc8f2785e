"""Packages of strangers and broken-off writes, with files that are no weights."""

import json
import os
import random
import shutil
import zipfile

import pytest

import omnimat
from omnimat.base.errors import UserError
from omnimat.inference.card import PackageCard
from omnimat.inference.package import Package, stored, write

FILES = {"encoders/structure.safetensors": bytes(range(256)) * 8, "README.md": b"# A model\n"}
ENCODER = {
    "modality": "structure",
    "encoder": {"type": "cgcnn", "preset": "tiny"},
    "featurizer": {},
    "embedding_dim": 16,
    "parent_run": "pre",
    "config_hash": "0",
    "dataset_fingerprint": "0",
    "samples_seen": 0,
}
CARD = PackageCard.model_validate(
    {
        "omnimat": "0",
        "name": "small",
        "files": {name: one.model_dump() for name, one in stored(FILES).items()},
        "encoders": {"structure": ENCODER},
        "trained": [],
        "config": {"lr": 0.1, "words": "as it was"},
    }
)


def opened(path):
    """Open a package and read all of it."""
    package = Package(path)
    package.check()
    return package.card, {name: package.data(name) for name in package.card.files}


def mutated(data, generator):
    """Flip a bit, overwrite some bytes, or cut; half of the places are near the end."""
    start = generator.choice([0, max(0, len(data) - 600)])
    place = generator.randrange(start, len(data))
    kind = generator.choice(["flip", "overwrite", "cut", "cut out"])
    if kind == "cut":
        return data[:place]
    changed = bytearray(data)
    if kind == "flip":
        changed[place] ^= 1 << generator.randrange(8)
    elif kind == "overwrite":
        changed[place : place + 4] = generator.randbytes(4)
    else:
        del changed[place : place + generator.randrange(1, 20)]
    return bytes(changed)


@pytest.fixture(scope="module", params=["model", "model.zip"])
def written(request, tmp_path_factory):
    out = tmp_path_factory.mktemp("written") / request.param
    write(out, CARD, FILES)
    return out


def test_a_package_is_read_as_it_was_written(written):
    assert opened(written) == (CARD, FILES)


def test_whatever_is_damaged_is_refused_in_a_sentence_or_makes_no_difference(written, tmp_path):
    generator = random.Random(0)
    reasons = []
    for _ in range(200):
        copy = tmp_path / written.name
        if written.is_dir():
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(written, copy)
            file = copy / generator.choice([*FILES, "card.json", "card.json"])
        else:
            file = shutil.copy(written, copy)
        file.write_bytes(mutated(file.read_bytes(), generator))
        try:
            found = opened(copy)
        except UserError as error:
            reasons.append(str(error))
        else:
            assert found == (CARD, FILES)
    assert len(reasons) > 150
    assert not any("\n" in reason for reason in reasons)


@pytest.mark.parametrize("kind", ["deflated", "encrypted", "twice", "larger"])
def test_a_zip_that_is_not_stored_plainly_is_refused(written, tmp_path, kind):
    card = (written / "card.json").read_bytes() if written.is_dir() else b"{}"
    path = tmp_path / "model.zip"
    with zipfile.ZipFile(path, "w") as archive:
        compression = zipfile.ZIP_DEFLATED if kind == "deflated" else zipfile.ZIP_STORED
        archive.writestr("card.json", card, compression)
        if kind == "twice":
            with pytest.warns(UserWarning, match="Duplicate"):
                archive.writestr("card.json", card)
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    if kind == "encrypted":
        data[entry + 8] |= 1
        data[6] |= 1
    if kind == "larger":
        data[entry + 24 : entry + 28] = (1 << 30).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"is no packed model|holds card\.json twice"):
        Package(path)


def test_a_card_that_says_one_thing_twice_is_refused(tmp_path):
    write(tmp_path / "model", CARD, FILES)
    text = CARD.model_dump_json()
    (tmp_path / "model" / "card.json").write_text(text.replace("{", '{"name": "other", ', 1))
    with pytest.raises(UserError, match="stands twice"):
        Package(tmp_path / "model")
    (tmp_path / "model" / "card.json").write_text(json.dumps(json.loads(text)))
    assert opened(tmp_path / "model") == (CARD, FILES)


def test_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "model.zip")
    with pytest.raises(UserError, match="neither a folder nor a file"):
        Package(tmp_path / "model.zip")


def test_a_write_that_breaks_off_leaves_nothing(tmp_path):
    """A file has the name of a folder that must be made, so writing ends in the middle."""
    with pytest.raises(OSError, match="README"):
        write(tmp_path / "model", CARD, {"README.md": b"", "README.md/x": b""})
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "model", CARD, FILES)
    assert opened(tmp_path / "model") == (CARD, FILES)
    assert [one.name for one in tmp_path.iterdir()] == ["model"]


def test_a_model_that_a_card_only_names_is_not_opened(packed, records, tmp_path):
    hostile = shutil.copytree(packed, tmp_path / "hostile")
    card = json.loads((hostile / "card.json").read_text())
    card.pop("checksum")
    named = {"type": "huggingface_embedding", "model": "/etc"}
    mlp = {"type": "text_mlp", "preset": "tiny"}
    card["encoders"]["structure"] |= {"modality": "text", "featurizer": named, "encoder": mlp}
    card["encoders"]["text"] = card["encoders"].pop("structure")
    card["predictor"]["network"]["modalities"] = ["text"]
    (hostile / "card.json").write_text(json.dumps(card))
    with pytest.raises(UserError, match="is not opened"):
        omnimat.load(hostile).predict(records[0], strict=True)
