import numpy as np
import pytest
from upath import UPath

from omnimat.formats.format import FORMATS, Reading, format_of

TEXT = "Quartz is trigonal (P3_221). All Si-O bond lengths are 1.61 Å."


def read(path):
    (record,) = format_of(UPath(path)).entries(UPath(path), Reading(), 0, 1)
    assert set(record.parts) == {"text"}
    return record


@pytest.mark.parametrize("name", ["quartz.txt", "quartz.md", "QUARTZ.TXT"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_text(tmp_path, name, encoding):
    (tmp_path / name).write_bytes(f"\n{TEXT}\n".encode(encoding))
    record = read(tmp_path / name)
    assert record.parts["text"] == TEXT
    assert record.provenance == {}


def test_latin_1_is_noted(tmp_path):
    (tmp_path / "quartz.txt").write_bytes(TEXT.encode("latin-1"))
    record = read(tmp_path / "quartz.txt")
    assert record.parts["text"] == TEXT
    assert "Latin-1" in record.provenance["text"]


def test_a_text_in_another_script(tmp_path):
    (tmp_path / "quartz.md").write_text("石英属于三方晶系。", encoding="utf-8")
    assert read(tmp_path / "quartz.md").parts["text"] == "石英属于三方晶系。"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b" \n\t\n", "empty"),
        (b"words\x00and zeros", "not text"),
        (b"word " * 300_000, "too large"),
        (np.random.default_rng(0).bytes(10_000), "not text"),
    ],
)
def test_what_is_wrong_is_said(tmp_path, content, reason):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        read(tmp_path / "a.txt")


@pytest.mark.parametrize(
    "content",
    [
        "".join(f"{n} {n + 1}\n" for n in range(50)),  # a pattern
        "".join(f"{n}, {n} {n}\n" for n in range(50)),  # numbers that nobody can read
        "1 2 3 4\n" * 3,
    ],
)
def test_numbers_are_no_text(tmp_path, content):
    (tmp_path / "a.txt").write_text(content)
    assert format_of(UPath(tmp_path / "a.txt")) is not FORMATS.load("text")
