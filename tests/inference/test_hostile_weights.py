"""Weights whose maker means harm, in packages all else of which is right.

Each package is used in every way, as in ``test_hostile_packages``.
"""

import io
import json
import os
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

import omnimat
from omnimat.testing.packages import TARGET

from .conftest import WEIGHTS, used, written


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
