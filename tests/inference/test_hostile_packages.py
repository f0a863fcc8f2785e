"""Packages whose maker means harm: every hash is right, and all else may be wrong.

Each is opened, checked, shown and asked for an embedding and a prediction, with little memory to
spare. It may do its work or be refused in a sentence; it runs nothing and takes no memory.
"""

import copy
import io
import json
import os
import resource
import struct
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

import omnimat
from omnimat.base.errors import UserError
from omnimat.cli.main import main
from omnimat.inference.package import Package, stored
from omnimat.modalities.layout import self_contained
from omnimat.modalities.xrd.features import XrdPattern
from omnimat.testing.packages import TARGET, write_package

SPARE_BYTES = 512 << 20
LONGEST_S = 5.0  # of processor time, by far more than an honest package takes
WEIGHTS = "members/seed0.safetensors"
BIG = 10**9


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """The card and the other files of a package."""
    folder = tmp_path_factory.mktemp("honest") / "model"
    write_package(folder)
    card = json.loads((folder / "card.json").read_text())
    del card["checksum"]
    return card, {name: (folder / name).read_bytes() for name in card["files"]}


@pytest.fixture
def little_memory(records, honest, tmp_path):
    """Allow this process little more address space than it has, once all libraries are loaded."""
    assert used(written(tmp_path / "warm", *honest), records[0]) == [None] * 5
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def written(folder, card, files, text=None):
    """Write a package with the right hashes."""
    described = {name: one.model_dump() for name, one in stored(files).items()}
    more = card.get("more_files", {})
    told = {key: value for key, value in card.items() if key != "more_files"}
    told = json.dumps(told | {"files": described | more})
    data_of = files | {"card.json": told.encode() if text is None else text}
    for name, data in data_of.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def used(path, record):
    """Use a package in every way; give for each why it was refused, or None."""
    found = []
    for use in (
        lambda: Package(path).check(),
        lambda: omnimat.load(path, "cpu").embed(record, progress=False),
        lambda: omnimat.load(path, "cpu").predict(record, progress=False),
    ):
        try:
            use()
        except UserError as error:
            found.append(str(error))
        else:
            found.append(None)
    for command in (("models", "show", str(path)), ("models", "check", str(path))):
        result = CliRunner().invoke(main, command)
        assert result.exit_code in {0, 2}, (command, result.exception)
        found.append(result.output if result.exit_code else None)
    return found


def header(content, data=b""):
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return struct.pack("<Q", len(text)) + text + data


def one_tensor(shape, offsets, dtype="F32", data=b"\0" * 64):
    return header({"x": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}, data)


def torch_saved(what):
    buffer = io.BytesIO()
    torch.save(what, buffer)
    return buffer.getvalue()


TOUCHED = Path(tempfile.gettempdir(), f"omnimat-touched-{os.getpid()}")
# What calls os.system in whoever unpickles it.
POISON = f"cos\nsystem\n(S'touch {TOUCHED}'\ntR.".encode()


class Touches:
    def __reduce__(self):
        return os.system, (f"touch {TOUCHED}",)


WRONG_WEIGHTS = {
    "nothing": b"",
    "a pickle": POISON,
    "torch's own format": torch_saved(Touches()),
    "a header beyond the file": struct.pack("<Q", 2**63) + b"{}",
    "a header of 100 MB": struct.pack("<Q", 10**8) + b"{}",
    "deep JSON": header(b"[" * 100_000),
    "a deep tensor": header(b'{"x":' * 50_000 + b"1" + b"}" * 50_000),
    "no objects": header([1, 2]),
    "a huge shape": one_tensor([2**40], [0, 64]),
    "an overflowing shape": one_tensor([2**32, 2**32, 2**32], [0, 64]),
    "an empty huge shape": one_tensor([0, 2**62], [0, 0], data=b""),
    "a negative shape": one_tensor([-1], [0, 64]),
    "offsets beyond the file": one_tensor([16], [2**40, 2**40 + 64]),
    "offsets that run back": one_tensor([16], [64, 0]),
    "overlapping tensors": header(
        {name: {"dtype": "F32", "shape": [16], "data_offsets": [0, 64]} for name in "xy"},
        b"\0" * 64,
    ),
    "a hole": one_tensor([8], [32, 64]),
    "an unknown dtype": one_tensor([16], [0, 64], "F99"),
    "a code for a dtype": one_tensor([16], [0, 64], "__import__('os').system('true')"),
    "many empty tensors": header(
        {f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(20_000)}
    ),
    "metadata that is none": header({"__metadata__": {"x": {"y": 1}}}),
    "not UTF-8": header(b"\xff\xfe{}"),
}


@pytest.mark.parametrize("name", WRONG_WEIGHTS)
def test_weights_that_are_none_are_refused(honest, records, tmp_path, little_memory, name):
    card, files = honest
    found = used(written(tmp_path / "m", card, files | {WEIGHTS: WRONG_WEIGHTS[name]}), records[0])
    assert all("do not belong together" in one for one in found[1:3])
    assert not any("\n" in one.strip() for one in found if one)
    assert not TOUCHED.exists()


def tensors_of(honest, change):
    tensors = load_tensors(honest[1][WEIGHTS])
    return save_tensors(
        {name: change(one) if one.is_floating_point() else one for name, one in tensors.items()}
    )


CHANGED_TENSORS = {
    "NaN": lambda one: torch.full_like(one, torch.nan),
    "infinite": lambda one: torch.full_like(one, torch.inf),
    "largest": lambda one: torch.full_like(one, torch.finfo(torch.float32).max),
    "float64": torch.Tensor.double,
    "whole": lambda one: one.to(torch.int64),
    "truth values": lambda one: one.bool(),
    "complex": lambda one: one.to(torch.complex64),
    "eight bits": lambda one: one.to(torch.float8_e4m3fn),
}


OF_ANOTHER_KIND = ("whole", "truth values", "complex")


@pytest.mark.parametrize("name", CHANGED_TENSORS)
def test_weights_of_other_numbers_give_numbers_or_a_reason(
    honest, records, tmp_path, little_memory, name
):
    card, files = honest
    weights = tensors_of(honest, CHANGED_TENSORS[name])
    path = written(tmp_path / "m", card, files | {WEIGHTS: weights})
    found = used(path, records[0])
    if name in OF_ANOTHER_KIND:
        assert all("do not belong together" in one for one in found[1:3])
        return
    assert found == [None] * 5
    table = omnimat.load(path, "cpu").predict(records[0])
    is_finite = np.isfinite(table[[TARGET, "distance"]].to_numpy(np.float64)).all()
    assert bool(table["notes"][0]) or is_finite


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
    "predictor.predicted.0.task.target = 10 MB",
    "predictor.predicted.0.task.target = control characters",
    "predictor.domain.elements = none of them",
    "name = a path",
    "name = 10 MB",
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
