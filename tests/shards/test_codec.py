import dataclasses
import io
import json
import zipfile

import numpy as np
import pytest

from omnimat.modalities.composition import Formula
from omnimat.modalities.dos import DensityOfStates
from omnimat.modalities.xrd import MeasuredPattern
from omnimat.shards import codec
from omnimat.shards.codec import decode, encode, extensions


def npy(array, **options) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **options)
    return buffer.getvalue()


def test_a_full_record_comes_back_exactly(new_record):
    record = new_record()
    members = encode(record)
    assert tuple(members) == extensions()
    back = decode(record.material_id, members)
    for name in ("lattice_angstrom", "atomic_numbers", "frac_coords"):
        expected, found = getattr(record.structure, name), getattr(back.structure, name)
        np.testing.assert_array_equal(found, expected, strict=True)
    np.testing.assert_array_equal(
        back.parts["charge_density"], record.parts["charge_density"], strict=True
    )
    np.testing.assert_array_equal(
        back.parts["text_embedding"], record.parts["text_embedding"], strict=True
    )
    np.testing.assert_array_equal(
        back.parts["dos"].spin_up_per_ev, record.parts["dos"].spin_up_per_ev, strict=True
    )
    assert back.parts["dos"].spin_down_per_ev is None
    assert (back.parts["text"], back.properties, back.provenance) == (
        record.parts["text"],
        record.properties,
        record.provenance,
    )


def test_absent_modalities_stay_absent(new_record):
    record = new_record(full=False)
    members = encode(record)
    assert set(members) == {"structure.json", "properties.json", "provenance.json"}
    back = decode("a-1", members)
    assert list(back.parts) == ["structure"]


def test_the_second_spin_channel_is_kept(new_record):
    energies = np.arange(3, dtype=np.float32)
    dos = DensityOfStates(energies, energies, 2 * energies)
    back = decode("a", encode(new_record("a").with_part("dos", dos)))
    np.testing.assert_array_equal(back.parts["dos"].spin_down_per_ev, 2 * energies)


def test_equal_records_give_equal_bytes(new_record):
    one = new_record()
    other = dataclasses.replace(one, properties=dict(reversed(one.properties.items())))
    assert encode(one) == encode(other)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"material_id": "a.b"}, "material id must match"),
        ({"material_id": "../a"}, "material id must match"),
        ({"properties": {"gap": float("nan")}}, "properties.json: .*not JSON compliant"),
        ({"properties": {"gap": np.float32(1)}}, "properties.json: not a JSON value"),
    ],
)
def test_what_cannot_be_stored_is_refused(new_record, change, reason):
    with pytest.raises(ValueError, match=reason):
        encode(dataclasses.replace(new_record(), **change))


@pytest.mark.parametrize(
    ("part", "value", "reason"),
    [
        ("charge_density", np.zeros((2, 2)), "charge_density.npy: .*expected 3"),
        ("charge_density", np.full((2, 2, 2), np.inf), "charge_density.npy: .*not finite"),
        ("dos", DensityOfStates(np.ones(3), np.ones(3)), "dos.npz: energies do not increase"),
        ("dos", DensityOfStates(np.arange(3), np.ones(2)), "dos.npz: .*differ in length"),
        ("xrd", MeasuredPattern(np.arange(3), np.zeros(3)), "xrd.npz: no intensity"),
        ("xrd", MeasuredPattern(np.array([1, 181]), np.ones(2)), "xrd.npz: .*outside 0 to 180"),
        ("xrd", MeasuredPattern(np.arange(3), np.ones(3), -1.0), "xrd.npz: .*not positive"),
        ("composition", Formula(np.array([0]), np.ones(1)), "composition.json: elements"),
        ("composition", Formula(np.array([8, 8]), np.ones(2)), "composition.json: elements"),
        ("composition", Formula(np.array([8]), np.zeros(1)), "composition.json: an amount"),
        ("phonon_dos", np.ones(51), "unknown parts: phonon_dos"),
    ],
)
def test_a_part_that_cannot_be_stored_is_refused(new_record, part, value, reason):
    with pytest.raises(ValueError, match=reason):
        encode(new_record().with_part(part, value))


def test_a_record_needs_no_structure(new_record):
    record = new_record()
    given = {name: record.parts[name] for name in ("xrd", "composition")}
    members = encode(dataclasses.replace(record, parts=given))
    back = decode("a-1", members)
    assert back.structure is None
    assert back.parts["xrd"].wavelength_angstrom == record.parts["xrd"].wavelength_angstrom
    for name in ("two_theta_degree", "intensity"):
        expected, found = getattr(given["xrd"], name), getattr(back.parts["xrd"], name)
        np.testing.assert_array_equal(found, expected, strict=True)
    assert back.parts["composition"].amounts.tolist() == [1.0, 1.0]


def test_an_oversized_member_is_refused(new_record, monkeypatch):
    monkeypatch.setattr(codec, "MAX_MEMBER_BYTES", 300)
    with pytest.raises(ValueError, match="over 300"):
        encode(new_record())


def zipped(compression: int = zipfile.ZIP_STORED, **entries: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(f"{name}.npy", data)
    return buffer.getvalue()


PICKLED = npy(np.array([{"a": 1}], dtype=object), allow_pickle=True)
LYING = npy(np.zeros((2, 2, 2))).replace(b"(2, 2, 2)", b"(2, 2, 9)")
HUGE = npy(np.zeros((2, 2, 2))).replace(b"2), }" + b" " * 12, b"2" + b"0" * 12 + b"), }")


@pytest.mark.parametrize(
    ("extension", "data", "reason"),
    [
        ("charge_density.npy", PICKLED, "must be numeric"),
        ("charge_density.npy", LYING, "does not fit"),
        ("charge_density.npy", HUGE, "does not fit"),
        ("charge_density.npy", b"", "not an npy file"),
        ("charge_density.npy", b"\x93NUMPY\x01\x00", "must be numeric"),
        ("charge_density.npy", npy(np.asfortranarray(np.zeros((2, 3, 4)))), "C order"),
        ("dos.npz", b"PK nonsense", "not a zip file"),
        ("dos.npz", zipped(energies_ev=PICKLED, spin_up_per_ev=PICKLED), "must be numeric"),
        ("dos.npz", zipped(energies_ev=npy(np.arange(3.0))), "spin_up_per_ev"),
        ("dos.npz", zipped(spin_up_per_ev=npy(np.arange(3.0))), "energies_ev"),
        ("dos.npz", zipped(zipfile.ZIP_DEFLATED, bomb=bytes(65 * 2**20)), "is compressed"),
        ("text.txt", b"\xff\xfe", "utf-8"),
        ("properties.json", b"[1]", "expected a JSON object"),
        ("properties.json", b"{", "properties.json"),
        ("properties.json", b'{"a":' * 100_000, "recursion"),
        ("structure.json", b"{}", "lattice_angstrom"),
        ("structure.json", b"[]", "structure.json"),
        ("data.pkl", b"", "unknown members: data.pkl"),
    ],
)
def test_what_does_not_decode_is_a_value_error_with_the_member(new_record, extension, data, reason):
    members = encode(new_record()) | {extension: data}
    with pytest.raises(ValueError, match=reason):
        decode("a-1", members)


def test_a_wrong_structure_is_refused(new_record):
    members = encode(new_record())
    structure = json.loads(members["structure.json"])
    structure["atomic_numbers"].append(1)
    with pytest.raises(ValueError, match="lengths differ"):
        decode("a-1", members | {"structure.json": json.dumps(structure).encode()})


# What headers are made of, so that damage stays close to what is right.
ALPHABET = b"0123456789()[]{}',\"L<>|fiuO \n\t:eE-+.\\#\x00\xff"
NUM_DAMAGED = 3000


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Change a member in one of five ways, mostly near its beginning."""
    changed = bytearray(data)
    end = min(len(data), int(rng.choice([128, len(data)])))
    kind = rng.integers(5)
    for _ in range(rng.choice([1, 2, 20])):
        at = int(rng.integers(end))
        if kind == 0:
            changed[at % len(changed)] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            changed[at % len(changed)] = rng.choice(list(ALPHABET))
        elif kind == 2:
            changed[at:at] = rng.choice(list(ALPHABET), 5).astype(np.uint8).tobytes()
        elif kind == 3:
            del changed[at : at + int(rng.integers(1, len(changed)))]
            return bytes(changed)
        else:
            changed[at : at + 8] = changed[-8:]
    return bytes(changed)


def test_damage_is_a_value_error_or_decodes(new_record, capsys):
    rng = np.random.default_rng(0)
    originals = [encode(new_record(seed=seed)) for seed in range(4)]
    refused = []
    for _ in range(NUM_DAMAGED):
        members = originals[rng.integers(4)]
        extension = rng.choice(list(members))
        try:
            decode("a-1", members | {extension: damaged(members[extension], rng)})
        except ValueError as error:
            refused.append((extension, str(error)))
    assert len(refused) > NUM_DAMAGED / 2
    assert all(reason.startswith(f"{extension}: ") for extension, reason in refused)
    with capsys.disabled():
        print(f"\n{NUM_DAMAGED} damaged members: {len(refused)} refused with a reason", end=" ")
