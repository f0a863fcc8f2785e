"""Writes calculated and measured curves in every format that is read, and texts; all made up."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pymatgen.core import Structure
from pymatgen.io.vasp import Chgcar, Poscar

from omnimat.testing.crystal_files import CRYSTAL_FILES, Crystals, Writer, energy_ev

Float = NDArray[np.float64]

_FERMI_LEVEL_EV = 1.0
_ENERGIES_EV = np.linspace(-6, 8, 57)
_TWO_THETA_DEGREE = np.linspace(10, 80, 71)
_WAVELENGTH_ANGSTROM = 1.54184


def density_of_states(crystal: Structure) -> Float:
    """Return a curve over 57 energies whose place tells the electronegativity."""
    centre_ev = crystal.composition.average_electroneg
    return np.asarray(np.round(np.exp(-((_ENERGIES_EV - centre_ev) ** 2)), 4))


def pattern(crystal: Structure) -> Float:
    """Return counts over 71 angles whose peaks tell the volume per atom."""
    edge = np.cbrt(crystal.volume / len(crystal)) * 2
    angles = [2 * np.degrees(np.arcsin(_WAVELENGTH_ANGSTROM * n / 2 / edge)) for n in (1.0, 1.4)]
    peaks = [900 * np.exp(-((_TWO_THETA_DEGREE - angle) ** 2)) for angle in angles]
    return np.asarray(np.rint(100 + np.sum(peaks, axis=0)))


def _charge_density(crystal: Structure, num_electrons: float) -> Chgcar:
    wave = np.cos(2 * np.pi * np.arange(8) / 8)
    grid = num_electrons * (1 + wave[:, None, None] * wave[None, :, None] * wave[None, None] / 2)
    return Chgcar(Poscar(crystal, sort_structure=True), {"total": grid})


def _chgcar(folder: Path, crystals: Crystals) -> None:
    for name, crystal in crystals.items():
        (folder / name).mkdir()
        _charge_density(crystal, 8.0 * len(crystal)).write_file(str(folder / name / "CHGCAR"))


def _aeccar(folder: Path, crystals: Crystals) -> None:
    for name, crystal in crystals.items():
        (folder / name).mkdir()
        for number, num_electrons in ((0, 4.0), (2, 8.0)):
            density = _charge_density(crystal, num_electrons * len(crystal))
            density.write_file(str(folder / name / f"AECCAR{number}"))


def _doscar(folder: Path, crystals: Crystals) -> None:
    for name, crystal in crystals.items():
        (folder / name).mkdir()
        density = density_of_states(crystal)
        columns = np.stack([_ENERGIES_EV, density, np.cumsum(density)], axis=1)
        count = len(_ENERGIES_EV)
        head = f"{_ENERGIES_EV[-1]:16.8f}{_ENERGIES_EV[0]:16.8f}{count:5d}{_FERMI_LEVEL_EV:16.8f}"
        rows = [f"{a:11.3f} {b:11.4E} {c:11.4E}" for a, b, c in columns]
        begin = [f"{len(crystal):4d}{len(crystal):4d}   1   0", "  1.0 2.0", "  1.0", "  CAR", name]
        text = "\n".join([*begin, f"{head}      1.00000000", *rows])
        (folder / name / "DOSCAR").write_text(text + "\n")


def _vasprun(folder: Path, crystals: Crystals) -> None:
    for name, crystal in crystals.items():
        (folder / name).mkdir()
        (folder / name / "vasprun.xml").write_text(_calculation(crystal))


def _vectors(name: str, rows: Float) -> str:
    lines = "".join(f"<v> {a:.8f} {b:.8f} {c:.8f} </v>\n" for a, b, c in rows)
    return f'<varray name="{name}" >\n{lines}</varray>\n'


def _structure(crystal: Structure, name: str = "") -> str:
    basis = _vectors("basis", crystal.lattice.matrix)
    positions = _vectors("positions", crystal.frac_coords)
    return f"<structure{name}>\n<crystal>\n{basis}</crystal>\n{positions}</structure>\n"


def _energy(crystal: Structure) -> str:
    names = ("e_fr_energy", "e_wo_entrp", "e_0_energy")
    lines = "".join(f'<i name="{name}"> {energy_ev(crystal):.6f} </i>\n' for name in names)
    return f"<energy>\n{lines}</energy>\n"


def _total_dos(crystal: Structure) -> str:
    density = density_of_states(crystal)
    columns = zip(_ENERGIES_EV, density, np.cumsum(density), strict=True)
    rows = "".join(f"<r> {a:.4f} {b:.4f} {c:.4f} </r>\n" for a, b, c in columns)
    fields = "".join(f"<field>{one}</field>\n" for one in ("energy", "total", "integrated"))
    return (
        f'<dos>\n<i name="efermi"> {_FERMI_LEVEL_EV} </i>\n<total>\n<array>\n{fields}'
        f'<set>\n<set comment="spin 1">\n{rows}</set>\n</set>\n</array>\n</total>\n</dos>\n'
    )


def _atom_info(crystal: Structure) -> str:
    symbols = [site.specie.symbol for site in crystal]
    kinds = list(dict.fromkeys(symbols))
    atoms = "".join(f"<rc><c>{one}</c><c> {kinds.index(one) + 1}</c></rc>\n" for one in symbols)
    types = "".join(
        f"<rc><c> {symbols.count(one)}</c><c>{one}</c><c> 1.0</c><c> 1.0</c><c> PAW_PBE {one} "
        "08Apr2002 </c></rc>\n"
        for one in kinds
    )
    return (
        f"<atominfo>\n<atoms> {len(symbols)} </atoms>\n<types> {len(kinds)} </types>\n"
        f'<array name="atoms" >\n<set>\n{atoms}</set>\n</array>\n'
        f'<array name="atomtypes" >\n<set>\n{types}</set>\n</array>\n</atominfo>\n'
    )


def _calculation(crystal: Structure) -> str:
    forces = _vectors("forces", np.zeros((len(crystal), 3)))
    step = f"<scstep>\n{_energy(crystal)}</scstep>\n{_structure(crystal)}{forces}{_energy(crystal)}"
    return f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<modeling>
<generator>
<i name="program" type="string">vasp </i>
<i name="version" type="string">6.4.2  </i>
</generator>
<incar>
<i type="int" name="NELM"> 60</i>
</incar>
<kpoints>
<generation param="Gamma">
<v type="int" name="divisions"> 1 1 1 </v>
<v name="usershift"> 0.0 0.0 0.0 </v>
</generation>
{_vectors("kpointlist", np.zeros((1, 3)))}<varray name="weights" >
<v> 1.0 </v>
</varray>
</kpoints>
<parameters>
<i type="int" name="NELM"> 60</i>
<i type="int" name="NSW"> 0</i>
<i type="int" name="IBRION"> -1</i>
</parameters>
{_atom_info(crystal)}{_structure(crystal, ' name="initialpos" ')}<calculation>
{step}{_total_dos(crystal)}</calculation>
{_structure(crystal, ' name="finalpos" ')}</modeling>
"""


def _xrdml(folder: Path, crystals: Crystals) -> None:
    for name, crystal in crystals.items():
        counts = " ".join(f"{count:.0f}" for count in pattern(crystal))
        first, last = _TWO_THETA_DEGREE[0], _TWO_THETA_DEGREE[-1]
        (folder / f"{name}.xrdml").write_text(f"""<?xml version="1.0" encoding="UTF-8"?>
<xrdMeasurements xmlns="http://www.xrdml.com/XRDMeasurement/1.5" status="Completed">
<xrdMeasurement measurementType="Scan" status="Completed">
<usedWavelength intended="K-Alpha 1"><kAlpha1 unit="Angstrom">{_WAVELENGTH_ANGSTROM}</kAlpha1>
</usedWavelength>
<scan appendNumber="0" mode="Continuous" scanAxis="Gonio" status="Completed">
<dataPoints><positions axis="2Theta" unit="deg">
<startPosition>{first}</startPosition><endPosition>{last}</endPosition>
</positions>
<commonCountingTime unit="seconds">25</commonCountingTime>
<intensities unit="counts">{counts}</intensities>
</dataPoints></scan></xrdMeasurement></xrdMeasurements>
""")


def _points(before: str, row: str, ending: str) -> Writer:
    """Return what writes a pattern as rows of text, with the angle ``x`` and the counts ``y``."""

    def write(folder: Path, crystals: Crystals) -> None:
        for name, crystal in crystals.items():
            rows = [
                row.format(x=x, y=y, error=np.sqrt(y))
                for x, y in zip(_TWO_THETA_DEGREE, pattern(crystal), strict=True)
            ]
            (folder / f"{name}{ending}").write_text(before + "\n".join(rows) + "\n")

    return write


def _dos_csv(folder: Path, crystals: Crystals) -> None:
    for name, crystal in crystals.items():
        columns = zip(_ENERGIES_EV, density_of_states(crystal), strict=True)
        rows = [f"{energy:.4f},{density:.4f}" for energy, density in columns]
        (folder / f"{name}.csv").write_text("\n".join(["energies_ev,dos", *rows]) + "\n")


def _dos_npz(folder: Path, crystals: Crystals) -> None:
    for name, crystal in crystals.items():
        density = density_of_states(crystal)
        np.savez(folder / f"{name}.npz", energies_ev=_ENERGIES_EV, dos=density)


def _text(folder: Path, crystals: Crystals) -> None:
    CRYSTAL_FILES["CIF"](folder, crystals)
    for name, crystal in crystals.items():
        (folder / f"{name}.txt").write_text(f"{crystal.reduced_formula} has a cell; ångström.\n")


MEASURED_FILES: Mapping[str, Writer] = {
    "vasprun.xml": _vasprun,
    "DOSCAR": _doscar,
    "CHGCAR": _chgcar,
    "AECCAR": _aeccar,
    "xy": _points("", "{x:.4f} {y:.1f}", ".xy"),
    "xye": _points("# two theta, counts, error\n", "{x:.4f}\t{y:.1f}\t{error:.3f}", ".xye"),
    "pattern in CSV": _points("two_theta,intensity\n", "{x:.4f},{y:.1f}", ".csv"),
    "RRUFF": _points("##NAMES=Salt\n##X-RAY WAVELENGTH=1.541838\n", "{x:.4f}, {y:.1f}", ".txt"),
    "xrdml": _xrdml,
    "DOS in CSV": _dos_csv,
    "DOS in npz": _dos_npz,
    "text beside a CIF": _text,
}
"""Every way in which curves and texts are written."""
