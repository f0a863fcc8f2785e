import numpy as np
import pytest
from upath import UPath

from omnimat.formats.format import Reading, format_of
from omnimat.formats.xrdml import parsed

COUNTS = np.rint(100 + 900 * np.exp(-(((np.linspace(10, 80, 3501) - 30) / 0.1) ** 2))).astype(int)
WAVELENGTH = """
<usedWavelength intended="K-Alpha 1"><kAlpha1 unit="Angstrom">1.5405980</kAlpha1>
<kAlpha2 unit="Angstrom">1.5444260</kAlpha2><kBeta unit="Angstrom">1.3922500</kBeta>
<ratioKAlpha2KAlpha1>0.5</ratioKAlpha2KAlpha1></usedWavelength>"""
RANGE = "<startPosition>10</startPosition><endPosition>80</endPosition>"


def values(numbers):
    return " ".join(map(str, numbers))


def scan(positions=RANGE, data=None, times="<commonCountingTime>25</commonCountingTime>"):
    data = f'<intensities unit="counts">{values(COUNTS)}</intensities>' if data is None else data
    return f"""<scan appendNumber="0" mode="Continuous" scanAxis="Gonio" status="Completed">
<dataPoints><positions axis="2Theta" unit="deg">{positions}</positions>
<positions axis="Omega" unit="deg"><startPosition>5</startPosition><endPosition>40</endPosition>
</positions>{times}{data}</dataPoints></scan>"""


def document(*scans, wavelength=WAVELENGTH, version="1.5", before=""):
    return f"""<?xml version="1.0" encoding="UTF-8"?>{before}
<xrdMeasurements xmlns="http://www.xrdml.com/XRDMeasurement/{version}" status="Completed">
<sample type="To be analyzed"><id>µ-7</id></sample>
<xrdMeasurement measurementType="Scan" status="Completed">{wavelength}
{"".join(scans or (scan(),))}</xrdMeasurement></xrdMeasurements>""".encode()


def test_a_file(tmp_path):
    (tmp_path / "Quartz.XRDML").write_bytes(b"\xef\xbb\xbf" + document())
    path = UPath(tmp_path / "Quartz.XRDML")
    (record,) = format_of(path).entries(path, Reading(), 0, 1)
    pattern = record.parts["xrd"]
    assert pattern.two_theta_degree[pattern.intensity.argmax()] == pytest.approx(30.0)
    np.testing.assert_allclose(pattern.two_theta_degree, np.linspace(10, 80, 3501), rtol=1e-6)
    np.testing.assert_array_equal(pattern.intensity, COUNTS)
    assert pattern.wavelength_angstrom == 1.540598
    assert list(format_of(path).entries(path, Reading(), 1, 2)) == []


def test_counts_of_the_second_version_are_corrected_for_the_attenuator():
    factors = np.where(COUNTS > 500, 10, 1)
    data = (
        f"<beamAttenuationFactors>{values(factors)}</beamAttenuationFactors>"
        f'<counts unit="counts">{values(COUNTS)}</counts>'
    )
    found = parsed(document(scan(data=data), version="2.1"))
    np.testing.assert_array_equal(found.intensity, COUNTS * factors)


def test_counts_of_points_that_took_longer_are_divided_by_the_time():
    seconds = np.linspace(1, 3, len(COUNTS)).round(4)
    data = f"<counts>{values(COUNTS)}</counts>"
    times = f"<countingTimes>{values(seconds)}</countingTimes>"
    found = parsed(document(scan(data=data, times=times), version="2.1"))
    np.testing.assert_allclose(found.intensity, COUNTS / seconds, rtol=1e-6)


def test_angles_may_be_listed():
    angles = np.linspace(10, 80, len(COUNTS)) ** 1.01
    positions = f"<listPositions>{values(angles)}</listPositions>"
    found = parsed(document(scan(positions)))
    np.testing.assert_allclose(found.two_theta_degree, angles, rtol=1e-6)


@pytest.mark.parametrize(
    ("intended", "expected"),
    [
        ("K-Alpha 1", 1.540598),
        ("K-Alpha 2", 1.544426),
        ("K-Beta", 1.39225),
        ("K-Alpha", (2 * 1.540598 + 1.544426) / 3),
    ],
)
def test_the_wavelength_is_the_one_that_was_meant(intended, expected):
    wavelength = WAVELENGTH.replace("K-Alpha 1", intended)
    found = parsed(document(wavelength=wavelength)).wavelength_angstrom
    assert found == pytest.approx(expected, rel=1e-12)


def test_a_wavelength_may_be_unknown():
    assert parsed(document(wavelength="")).wavelength_angstrom is None


def test_scans_of_other_axes_do_not_count():
    still = scan("<commonPosition>30</commonPosition>")
    assert len(parsed(document(scan(), still)).intensity) == len(COUNTS)


# Each entity is ten of the one before: 10^9 letters.
LAUGHS = "<!DOCTYPE x [" + '<!ENTITY a0 "ha">'
for _n in range(9):
    LAUGHS += f'<!ENTITY a{_n + 1} "{f"&a{_n};" * 10}">'
LAUGHS += "]>"
FILE = '<!DOCTYPE x [<!ENTITY f SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "cut off or damaged"),
        (b"no XML", "cut off or damaged"),
        (np.random.default_rng(0).bytes(5_000), "cut off or damaged"),
        (document()[:-200], "cut off or damaged"),
        (document().replace(b"\xc2\xb5", b"\xb5"), "cut off or damaged"),
        (document().replace(b"UTF-8", b"UVF-8"), "cut off or damaged"),
        (b"<a/>", "exactly one scan"),
        (document(scan(), scan()), "exactly one scan"),
        (document(scan("<commonPosition>30</commonPosition>")), "exactly one scan"),
        (document(scan("<startPosition>10</startPosition>")), "no range"),
        (document(scan(RANGE.replace("80", "10"))), "must increase"),
        (document(scan(RANGE.replace("80", "190"))), "outside 0 to 180"),
        (document(scan(RANGE.replace("80", "nan"))), "no range"),
        (document(scan(RANGE.replace("80", "high"))), "cannot be read"),
        (document(scan("<listPositions>10 20 30</listPositions>")), "differ in length"),
        (document(scan(data="")), "no counts"),
        (document(scan(data="<counts></counts>")), "no counts"),
        (document(scan(data="<counts>12 *** 13</counts>")), "cannot be read"),
        (document(scan(data="<counts>12 nan 13</counts>")), "not finite"),
        (document(scan(data="<counts>0 0 0</counts>")), "above zero"),
        (document(scan(data="<counts>7</counts>")), "two points"),
        (document(scan(times="<countingTimes>1 2</countingTimes>")), "differ in length"),
        (
            document(scan(times=f"<countingTimes>{values(0 * COUNTS)}</countingTimes>")),
            "not positive",
        ),
        (document(wavelength=WAVELENGTH.replace("1.5405980", "0")), "wavelength"),
        (document(wavelength=WAVELENGTH.replace("1.5405980", "copper")), "cannot be read"),
        (document(before=LAUGHS).replace("µ-7".encode(), b"&a9;"), "document type"),
        (document(before=FILE).replace("µ-7".encode(), b"&f;"), "document type"),
        (document(before=LAUGHS).decode().replace("UTF-8", "UTF-16").encode("utf-16"), "type"),
    ],
)
def test_what_is_wrong_is_said(data, reason):
    with pytest.raises(ValueError, match=reason):
        parsed(data)
