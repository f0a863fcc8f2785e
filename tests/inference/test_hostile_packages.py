"""Packages whose maker means harm: every hash is right, and all else may be wrong.

Each is opened, checked, shown and asked for an embedding and a prediction, with little memory to
spare. It may do its work or be refused in a sentence; it runs nothing and takes no memory.
"""

import copy
import time
import zipfile

import pytest

import omnimat
from omnimat.base.errors import UserError
from omnimat.inference.package import Package
from omnimat.modalities.layout import self_contained
from omnimat.modalities.xrd.features import XrdPattern

from .conftest import WEIGHTS, used, written

LONGEST_S = 60.0  # of processor time; only ends what grows without end
BIG = 10**9


ENCODER, NETWORK = "encoders.structure.encoder", "predictor.network"
FEATURIZER = "encoders.structure.featurizer"
WRONG_CARDS = {
    f"{key} = {shown}": (key, value)
    for key, shown, value in [
        (f"{ENCODER}.hidden_width", "10^9", BIG),
        (f"{ENCODER}.hidden_width", "10^400", 10**400),
        (f"{ENCODER}.num_convolutions", "10^9", BIG),
        (f"{ENCODER}.num_layers", "10^9", BIG),
        (f"{ENCODER}.type", "os:system", "os:system"),
        (f"{ENCODER}.type", "omnimat.base.child:run", "omnimat.base.child:run"),
        (f"{ENCODER}", "a list", [ENCODER]),
        ("encoders.structure.embedding_dim", "10^9", BIG),
        ("encoders.structure.embedding_dim", "-1", -1),
        ("encoders.structure.embedding_dim", "0", 0),
        ("encoders.structure.projected", "true", True),
        (f"{FEATURIZER}.max_neighbors", "10^9", BIG),
        (f"{FEATURIZER}.cutoff_angstrom", "10^6", 1e6),
        (f"{FEATURIZER}.cutoff_angstrom", "10^300", 1e300),
        (f"{FEATURIZER}.cutoff_angstrom", "NaN", float("nan")),
        (f"{FEATURIZER}.type", "os:system", "os:system"),
        (f"{NETWORK}.head", "os:system", {"type": "os:system"}),
        (f"{NETWORK}.seeds", "10^5 times the same", [0] * 10**5),
        (f"{NETWORK}.seeds", "none", []),
        (f"{NETWORK}.seeds", "-1", [-1]),
        (f"{NETWORK}.codec.codecs.0.std", "NaN", float("nan")),
        (f"{NETWORK}.codec.codecs.1.std", "of two numbers", [1.0, 1.0]),
        (f"{NETWORK}.codec.codecs.0.std", "10^308", 1e308),
        (f"{NETWORK}.codec.codecs.2.labels", "10^5 classes", [str(i) for i in range(10**5)]),
        (f"{NETWORK}.codec.codecs.2.log_ratios", "of one class", [1.0]),
        (f"{NETWORK}.codec.codecs.2.log_ratios", "NaN", [float("nan")] * 3),
        (f"{NETWORK}.modalities", "10^4 times the same", ["structure"] * 10**4),
        (f"{NETWORK}.modalities", "none", []),
        ("predictor.predicted", "nothing", []),
        ("predictor.predicted.0.calibration.factor", "infinite", float("inf")),
        ("predictor.predicted.0.task.target", "10 MB", "x" * 10**7),
        ("predictor.predicted.0.task.target", "control characters", "\x1b[2J\n=1+1"),
        ("predictor.domain.far", "NaN", float("nan")),
        ("predictor.domain.elements", "none of them", ["Xx", "../../etc"]),
        ("name", "a path", "../../../etc/passwd"),
        ("name", "10 MB", "x" * 10**7),
        ("config", "10^5 keys", {str(i): i for i in range(10**5)}),
        ("more_files", "of 10^18 bytes", {"big": {"size_bytes": 10**18, "sha256": "0" * 64}}),
        ("version", "2", 2),
    ]
}


def changed(card, key, value):
    """Put a value to where the dots of a key lead."""
    card = copy.deepcopy(card)
    *path, last = key.split(".")
    place = card
    for one in path:
        place = place[int(one) if isinstance(place, list) else one]
    place[int(last) if isinstance(place, list) else last] = value
    return card


DO_NO_HARM = (  # the first ones refuse the crystal, not the model
    f"{FEATURIZER}.max_neighbors = 10^9",
    f"{FEATURIZER}.cutoff_angstrom = 10^6",
    f"{FEATURIZER}.cutoff_angstrom = 10^300",
    f"{NETWORK}.codec.codecs.0.std = 10^308",
    "predictor.predicted.0.task.target = control characters",
    "predictor.domain.elements = none of them",
    "name = a path",
    "config = 10^5 keys",
    "more_files = of 10^18 bytes",
)

# It still embeds.
OF_THE_HEAD = ("predictor.network.codec.codecs.2.labels = 10^5 classes",)


@pytest.mark.parametrize("name", WRONG_CARDS)
def test_a_card_takes_no_more_than_its_weights_justify(
    honest, records, tmp_path, little_memory, name
):
    card, files = honest
    path = written(tmp_path / "m", changed(card, *WRONG_CARDS[name]), files)
    started_s = time.process_time()
    found = used(path, records[0])
    assert time.process_time() - started_s < LONGEST_S
    is_refused = name not in DO_NO_HARM
    assert [bool(one) for one in found[1:3]] == [is_refused and name not in OF_THE_HEAD, is_refused]
    assert not any("\x1b" in one or "\n" in one.strip() for one in found if one)


def test_a_featurizer_that_would_fill_the_memory_refuses_the_crystal(honest, records, tmp_path):
    card, files = honest
    path = written(tmp_path / "m", changed(card, f"{FEATURIZER}.cutoff_angstrom", 1e6), files)
    assert "too many neighbours" in omnimat.load(path).embed(records[0]).notes[0]
    with pytest.raises(UserError, match=r"xrd: .* numbers of a material"):
        self_contained({"xrd": XrdPattern(step_degree=1e-9)})


NO_CARDS = {
    "open lists": b"[" * 10**5,
    "open objects": b'{"a":' * 10**5,
    "a long number": b"9" * 5000,
    "no UTF-8": b"\xff\xfe",
    "a zero": b"\0",
    "NaN": b"NaN",
    "nothing": b"",
}


@pytest.mark.parametrize("name", NO_CARDS)
def test_a_card_that_is_no_card_is_refused(honest, records, tmp_path, little_memory, name):
    found = used(written(tmp_path / "m", *honest, NO_CARDS[name]), records[0])
    assert all(found)
    assert not any("\n" in one.strip() for one in found)


@pytest.mark.parametrize("name", ["card.json", WEIGHTS, "domain.safetensors"])
def test_no_link_of_a_folder_is_followed(honest, records, tmp_path, name):
    path = written(tmp_path / "m", *honest)
    (path / name).rename(path / "elsewhere")
    (path / name).symlink_to(path / "elsewhere")
    for use in (lambda: Package(path).check(), lambda: omnimat.load(path).predict(records[0])):
        with pytest.raises(UserError, match="is a link"):
            use()


def test_what_else_a_zip_holds_is_left_alone(honest, records, tmp_path):
    """Names that lead outside, a link and a bomb, none of which the card names."""
    folder = written(tmp_path / "m", *honest)
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        for name in (*honest[1], "card.json"):
            archive.write(folder / name, name)
        archive.writestr(str(tmp_path / "outside"), b"x")
        archive.writestr("../outside", b"x")
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("bomb", bytes(10**8), zipfile.ZIP_DEFLATED)
    assert used(tmp_path / "m.zip", records[0]) == [None] * 5
    assert sorted(one.name for one in tmp_path.iterdir()) == ["m", "m.zip"]
