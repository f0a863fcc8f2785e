import numpy as np
import pytest
from upath import UPath

from omnimat.formats.format import FORMATS, Reading, format_of
from omnimat.formats.powder import recognises
from omnimat.modalities.xrd import decode, encode

ANGLES = np.arange(10, 80, 0.02)
COUNTS = 100 + 900 * np.exp(-(((ANGLES - 30) / 0.1) ** 2))


def rows(separator=" ", errors=False):
    columns = [ANGLES, COUNTS, np.sqrt(COUNTS)] if errors else [ANGLES, COUNTS]
    return "".join(
        separator.join(f"{value:.4f}" for value in row) + "\n" for row in np.stack(columns, axis=1)
    )


def with_decimal_commas(text):
    return text.replace(".", ",")


def read(path):
    (record,) = format_of(UPath(path)).entries(UPath(path), Reading(), 0, 1)
    assert set(record.parts) == {"xrd"}
    return record.parts["xrd"]


def written(folder, text, name="sample.xy", encoding="utf-8"):
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return folder / name


@pytest.mark.parametrize(
    "content",
    [
        rows(),
        rows("\t"),
        rows("   "),
        rows(";"),
        rows(" ; "),
        rows(","),
        rows(", "),
        rows(errors=True),
        rows(",", errors=True),
        rows().replace("\n", "\r\n"),
        rows().replace("\n", " \n\n"),
        rows(";").replace("\n", ";\n"),
        with_decimal_commas(rows()),
        with_decimal_commas(rows("\t")),
        with_decimal_commas(rows(";")),
        with_decimal_commas(rows(" ", errors=True)),
        "\ufeff" + rows(),
        ("\ufeff" + rows()).encode("utf-16-le"),
        "# Messung für Phase µ, 25 °C\n".encode("latin-1") + rows().encode(),
        "Messung für Phase µ, 25 °C\n".encode("latin-1") + rows().encode(),
        "Scan of: run-1\nDivergence slit: 0.6 mm\n" + rows(),
        "2Theta [deg]\tIntensity [counts]\n" + rows("\t"),
        "2theta,counts\n" + rows(","),
        "Angle;Counts\n-----\n" + with_decimal_commas(rows(";")),
        "! FullProf\n# x\n' GSAS\n/ y\n@ z\n" + rows(),
        f"sample 7\n{len(ANGLES)}\n" + rows(),
        rows().replace("\n", "  # counted twice\n", 1),
        "10 120\n10.01 1e2\n10.015 +1.2E+02\n" + rows().split("\n", 1)[1],
    ],
)
def test_every_kind_of_columns_is_the_same_pattern(tmp_path, content):
    pattern = read(written(tmp_path, content))
    assert pattern.two_theta_degree[pattern.intensity.argmax()] == pytest.approx(30.0)
    assert pattern.intensity.max() == pytest.approx(1000)
    assert (pattern.two_theta_degree[0], len(pattern.intensity)) >= (10, len(ANGLES))
    assert pattern.wavelength_angstrom is None
    assert encode(decode(encode(pattern))) == encode(pattern)  # it can be stored


@pytest.mark.parametrize(
    ("value", "expected"), [("1.541838", 1.541838), (" 0.7107 ", 0.7107), ("", None)]
)
def test_the_header_of_rruff_names_the_wavelength(tmp_path, value, expected):
    header = f"##NAMES=Quartz\n##RRUFFID=R040031\n##X-RAY WAVELENGTH={value}\n"
    pattern = read(written(tmp_path, header + rows(", ") + "##END=\n", "Quartz__R040031.txt"))
    assert pattern.wavelength_angstrom == expected
    assert pattern.two_theta_degree[pattern.intensity.argmax()] == pytest.approx(30.0)


def test_inputs_that_failed_once(shared_cases):
    files = sorted((shared_cases / "xy").glob("*.xy"))
    assert len(files) >= 8
    for file in files:
        pattern = read(file)
        assert pattern.two_theta_degree[pattern.intensity.argmax()] == pytest.approx(30.0)
        is_of_rruff = file.name.startswith("rruff")
        assert pattern.wavelength_angstrom == (1.541838 if is_of_rruff else None)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        # What could be read in two ways is not guessed.
        ("10,5,100\n11,5,120\n12,5,90\n", "decimal commas"),
        ("10 100,500\n11 100,250\n12 999\n", "decimal commas"),
        ("10.00 1,000\n10.02 999\n10.04 1,020\n", "decimal commas"),
        ("10,00, 100,5\n10,02, 101,5\n", "decimal commas"),
        ("10,0000\n10,0200\n", "two theta must increase"),
        ("10;100,5\n11;200,5\n", "decimal commas"),
        # What is no pattern.
        ("", "empty file"),
        ("# only a comment\n", "two points"),
        ("only words\n", "two points"),
        ("10 1\n", "two points"),
        ("10 1\n10 2\n", "two theta must increase"),
        ("11 1\n10 2\n", "two theta must increase"),
        ("10 1\nnan 2\n12 3\n", "two theta must increase"),
        ("10 nan\n11 2\n", "not finite"),
        ("10 1\n11 inf\n", "not finite"),
        ("10 1e300\n11 1\n", "not finite"),
        ("10 0\n11 0\n", "no intensity is above zero"),
        ("-5 1\n11 2\n", "outside 0 to 180"),
        ("170 1\n181 2\n", "outside 0 to 180"),
        ("10 1\n11 2\n12 ***\n", "not two or three numbers"),
        ("10 ***\n11 2\n12 3\n", "not two or three numbers"),
        ("10 1\n11 2\nthe end\n", "not two or three numbers"),
        ("10 1\n11 2\n12\n", "not two or three numbers"),
        ("10 1 2 3\n11 2 3 4\n", "not two or three numbers"),
        ("10 1\n11 2 3\n", "number of columns"),
        ("10;;1\n11;;2\n", "not two or three numbers"),
        ("##X-RAY WAVELENGTH=copper\n10 1\n11 2\n", "wavelength is not a positive number"),
        ("##X-RAY WAVELENGTH=-1\n10 1\n11 2\n", "wavelength is not a positive number"),
        (b"\x89PNG\r\n\x00\x00 10 1\n", "not text"),
        (np.random.default_rng(0).bytes(10_000), "."),
    ],
)
def test_what_is_wrong_is_said(tmp_path, content, reason):
    with pytest.raises(ValueError, match=reason):
        read(written(tmp_path, content))


def test_faults_of_one_kind_share_the_beginning_of_their_reason(tmp_path):
    reasons = set()
    for word in ("***", "many"):
        with pytest.raises(ValueError, match="row") as caught:
            read(written(tmp_path, f"10 1\n11 {word}\n"))
        reasons.add(str(caught.value).partition(":")[0])
    assert len(reasons) == 1


def test_what_is_too_large_is_refused_before_it_is_parsed(tmp_path):
    file = tmp_path / "large.xy"
    with file.open("wb") as opened:
        opened.truncate(65_000_000)
    with pytest.raises(ValueError, match="too large"):
        read(file)


@pytest.mark.parametrize("name", ["a.csv", "a.txt", "a.dat", "A.TXT"])
def test_files_of_any_ending_are_seen_by_their_columns(tmp_path, name):
    content = rows(",", errors=True)
    assert len(content) > 65_536  # so that the last row that is looked at is cut off
    assert recognises(UPath(written(tmp_path, "two theta, counts\n" + content, name)))
    assert format_of(UPath(tmp_path / name)) is FORMATS.load("powder")


@pytest.mark.parametrize(
    "content",
    [
        "10 1\n11 2\n",  # too few rows
        "".join(f"{n} {n} 0 1\n" for n in range(50)),
        "".join(f"{50 - n} {n}\n" for n in range(50)),
        "".join(f"{n * 10} {n}\n" for n in range(50)),
        "A text on quartz, with 3 numbers in it: 1, 2, 3.\n" * 30,
        "id,band_gap\n" + "".join(f"mp-{n},{n}\n" for n in range(50)),
        "",
        b"\x00\x01",
    ],
)
def test_other_tables_and_texts_are_no_patterns(tmp_path, content):
    file = written(tmp_path, content, "a.txt")
    assert not recognises(UPath(file))
    assert format_of(UPath(file)) is not FORMATS.load("powder")


def test_nothing_lies_beyond_the_only_entry(tmp_path):
    path = UPath(written(tmp_path, rows()))
    powder = FORMATS.load("powder")
    assert powder.num_entries(path) == 1
    assert list(powder.entries(path, Reading(), 1, 5)) == []


def test_remote_files(tmp_path):
    path = UPath("memory://patterns/sample.csv")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(rows(",").encode())
    (record,) = format_of(path).entries(path, Reading(), 0, 1)
    assert len(record.parts["xrd"].intensity) == len(ANGLES)
