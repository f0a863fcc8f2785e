import io
import tracemalloc
import zipfile

import numpy as np
import pytest
from upath import UPath

from omnimat.formats.format import FORMATS, Reading, format_of
from omnimat.modalities.dos import decode, encode

ENERGIES = np.linspace(-15, 10, 501)
DENSITY = np.exp(-(ENERGIES**2))


def csv(energies=ENERGIES, density=DENSITY, header="energies_ev,dos", separator=","):
    return (
        header
        + "\n"
        + "".join(f"{e:.6f}{separator}{d:.6f}\n" for e, d in zip(energies, density, strict=True))
    )


def npz(save=np.savez, **arrays):
    buffer = io.BytesIO()
    save(buffer, **arrays)
    return buffer.getvalue()


def read(folder, name, content):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    (record,) = format_of(UPath(folder / name)).entries(UPath(folder / name), Reading(), 0, 1)
    assert set(record.parts) == {"dos"}
    assert "spin up" in record.provenance["dos"]
    return record.parts["dos"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", csv()),
        ("A.CSV", "\ufeff" + csv()),
        ("a.csv", "# from µ\n\n".encode("latin-1") + csv(separator=", ").encode()),
        ("a.csv", csv(header='"energies_ev", "dos"')),
        ("a.npz", npz(energies_ev=ENERGIES, dos=DENSITY, other=np.arange(3))),
        ("a.npz", npz(energies_ev=ENERGIES.astype(np.float32), dos=DENSITY)),
        ("a.npz", npz(np.savez_compressed, energies_ev=ENERGIES, dos=DENSITY)),
    ],
)
def test_columns_or_arrays(tmp_path, name, content):
    dos = read(tmp_path, name, content)
    np.testing.assert_allclose(dos.energies_ev, ENERGIES, atol=2e-6)
    np.testing.assert_allclose(dos.spin_up_per_ev, DENSITY, atol=2e-6)
    assert not dos.spin_down_per_ev.any()
    assert encode(decode(encode(dos))) == encode(dos)  # it can be stored


OBJECTS = np.array([{}, {}], dtype=object)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", csv(header="energies_ev,states"), "no dos"),
        ("a.csv", csv(header="energy,dos"), "no energies_ev"),
        ("a.csv", csv(ENERGIES[::-1]), "must increase"),
        ("a.csv", csv(np.where(ENERGIES == 0, np.nan, ENERGIES)), "must increase"),
        ("a.csv", csv(density=np.where(ENERGIES == 0, np.nan, DENSITY)), "not finite"),
        ("a.csv", csv(density=np.where(ENERGIES == 0, np.inf, DENSITY)), "not finite"),
        ("a.csv", csv() + "0,***\n", "other than numbers"),
        ("a.csv", csv() + "1,2,3,4\n", "cannot be read"),
        ("a.csv", "energies_ev,dos\n1,2\n", "two points"),
        ("a.csv", "energies_ev,dos\n", "two points"),
        ("a.npz", npz(energies_ev=ENERGIES), "no dos"),
        ("a.npz", npz(energies_ev=ENERGIES, dos=DENSITY[1:]), "same length"),
        ("a.npz", npz(energies_ev=ENERGIES[None], dos=DENSITY[None]), "same length"),
        ("a.npz", npz(energies_ev=OBJECTS, dos=OBJECTS), "numeric"),
        ("a.npz", b"no zip", "cut off or damaged"),
        ("a.npz", npz(energies_ev=ENERGIES, dos=DENSITY)[:-50], "cut off or damaged"),
        ("a.npz", b"", "empty file"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, name, content, reason):
    with pytest.raises(ValueError, match=reason):
        read(tmp_path, name, content)


def bomb(declared_size=None):
    """A file of some hundred kilobytes that unpacks to 100 MB."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("energies_ev", "dos"):
            header = io.BytesIO()
            np.lib.format.write_array_header_1_0(
                header, {"descr": "<f8", "fortran_order": False, "shape": (12_500_000,)}
            )
            archive.writestr(f"{name}.npy", header.getvalue() + bytes(100_000_000))
    data = buffer.getvalue()
    if declared_size is not None:  # what the directory of the archive says may be a lie
        data = data.replace((100_000_128).to_bytes(4, "little"), declared_size)
    return data


@pytest.mark.parametrize("declared_size", [None, (4_000).to_bytes(4, "little")])
def test_an_archive_that_unpacks_to_more_is_refused_before(tmp_path, declared_size):
    content = bomb(declared_size)
    assert len(content) < 1_000_000
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"too large|damaged|cannot be read"):
        read(tmp_path, "a.npz", content)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


def test_an_array_that_claims_more_than_it_has_is_refused(tmp_path):
    content = npz(energies_ev=ENERGIES, dos=DENSITY).replace(b"(501,)", b"(999,)")
    with pytest.raises(ValueError, match=r"cannot be read|damaged"):
        read(tmp_path, "a.npz", content)


def test_other_tables_and_archives_are_left_to_others(tmp_path):
    (tmp_path / "a.csv").write_text("energy,states\n0,1\n")
    (tmp_path / "a.npz").write_bytes(npz(positions=ENERGIES))
    (tmp_path / "b.csv").write_bytes(b"\x00")
    for name in ("a.csv", "a.npz", "b.csv"):
        assert format_of(UPath(tmp_path / name)) is not FORMATS.load("dos_table")
