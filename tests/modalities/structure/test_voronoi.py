import csv
import gzip
import itertools

import numpy as np
import pytest
from pymatgen.analysis.local_env import VoronoiNN
from pymatgen.core import Lattice, Structure
from scipy.spatial import Voronoi

from omnimat.modalities.structure.features import CrystalGraph
from omnimat.modalities.structure.voronoi import sharing_faces, solid_angles

GRAPH = CrystalGraph(neighbors="voronoi", max_neighbors=None, lattice_sums="none")
BODY, FACES = [[0] * 3, [0.5] * 3], [[0] * 3, [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
IDEAL = Lattice.hexagonal(3, 3 * (8 / 3) ** 0.5)
CRYSTALS = {
    "simple cubic": (Structure(Lattice.cubic(3), ["Po"], [[0] * 3]), 6),
    "body-centred cubic": (Structure(Lattice.cubic(3.2), ["W"] * 2, BODY), 14),
    "face-centred cubic": (Structure(Lattice.cubic(4), ["Al"] * 4, FACES), 12),
    "hexagonal": (
        Structure(IDEAL, ["Mg"] * 2, [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]]),
        12,
    ),
    "diamond": (
        Structure(2.7 * (np.ones((3, 3)) - np.eye(3)), ["Si"] * 2, [[0] * 3, [0.25] * 3]),
        4,
    ),
    # The layers 25 angstrom above and below are seen under 0.005 of the full solid angle.
    "one layer": (Structure(Lattice.tetragonal(3, 25), ["Po"], [[0] * 3]), 4),
}


def of_every_image(crystal: Structure) -> list[np.ndarray]:
    """The slow twin: the sorted solid angles of each cell among all images in seven cells' width.

    Corners of a face come in turn, so it is cut into triangles, whose angles follow from those
    between their sides (the excess of a spherical triangle).
    """
    images = np.array(list(itertools.product(range(-3, 4), repeat=3)))
    points = ((crystal.frac_coords + images[:, None]).reshape(-1, 3)) @ crystal.lattice.matrix
    cells = Voronoi(points)
    home = len(images) // 2 * len(crystal)
    found: list[list[float]] = [[] for _ in crystal]
    for ends, corners in zip(cells.ridge_points, cells.ridge_vertices, strict=True):
        for end in ends:
            if home <= end < home + len(crystal):
                rays = cells.vertices[corners] - points[end]
                rays /= np.linalg.norm(rays, axis=1, keepdims=True)
                excess = sum(
                    triangle_excess(rays[0], *rays[k : k + 2]) for k in range(1, len(rays) - 1)
                )
                found[end - home].append(excess / (4 * np.pi))
    return [np.sort(one) for one in found]


def triangle_excess(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
    """The sum of the angles of a triangle on the unit sphere, less pi."""
    normals = [np.cross(a, b), np.cross(b, c), np.cross(c, a)]
    if min(np.linalg.norm(n) for n in normals) < 1e-9:
        return 0.0
    unit = [n / np.linalg.norm(n) for n in normals]
    turns = [np.arccos(np.clip(-unit[k] @ unit[k - 1], -1, 1)) for k in range(3)]
    return float(sum(turns) - np.pi)


@pytest.mark.parametrize(
    ("name", "displacement_angstrom"),
    # Diamond's second neighbours, at half of the default, come closer if atoms move far.
    [one for one in itertools.product(CRYSTALS, [0, 1e-9, 1e-3, 0.1]) if one != ("diamond", 0.1)],
)
def test_simple_crystals_have_known_neighbours(record_of, name, displacement_angstrom):
    crystal, expected = CRYSTALS[name]
    crystal = crystal.make_supercell(2, in_place=False)
    directions = np.random.default_rng(0).standard_normal((len(crystal), 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    for site, direction in enumerate(displacement_angstrom * directions):
        crystal.translate_sites(site, direction, frac_coords=False)
    arrays = GRAPH(record_of(crystal))
    counts = np.bincount(arrays["edge_sources"], minlength=len(crystal))
    assert counts.tolist() == [expected] * len(crystal)
    np.testing.assert_array_equal(counts, np.bincount(arrays["edge_targets"]))


def test_solid_angles_are_those_among_all_images(record_of, triclinic):
    structure = record_of(triclinic).structure
    expected = of_every_image(triclinic)
    # Of the smallest faces, the twin loses digits in angles close to a straight one.
    smallest = 1e-4
    for fraction in (smallest, 0.02, 0.05):
        found = sharing_faces(structure, fraction)
        counts = np.bincount(found.centers, minlength=len(triclinic))
        assert counts.tolist() == [int((one >= fraction).sum()) for one in expected]
    near = sharing_faces(structure, 0.0)
    fractions, reach = solid_angles(near.vectors_angstrom(structure), np.bincount(near.centers))
    for atom, theirs in enumerate(expected):
        ours = np.sort(fractions[near.centers == atom])
        np.testing.assert_allclose(ours.sum(), 1, rtol=1e-9)
        np.testing.assert_allclose(ours[ours > smallest], theirs[theirs > smallest], atol=1e-6)
    assert 1 < reach < 10


def test_every_face_is_an_edge_in_both_directions_once(record_of, triclinic):
    arrays = GRAPH(record_of(triclinic))
    ends = arrays["edge_sources"], arrays["edge_targets"]
    vectors = arrays["edge_vectors_angstrom"].round(3) + 0.0
    edges = {(int(i), int(j), *v) for i, j, v in zip(*ends, vectors, strict=True)}
    assert len(edges) == len(vectors)
    assert edges == {(j, i, -x + 0.0, -y + 0.0, -z + 0.0) for i, j, x, y, z in edges}


@pytest.mark.parametrize(
    "vectors",
    [
        np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [2, 1, 0]]),  # in a plane
        np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0], [0, -1, 0]]),  # open below
        np.array([[1.0, 0, 0]]),
    ],
)
def test_an_open_cell_is_refused(vectors):
    with pytest.raises(ValueError, match="open"):
        solid_angles(vectors, np.array([len(vectors)]))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Issues encountered while parsing CIF")  # rounded coordinates
def test_pymatgen_finds_the_same_faces(record_of, shared_data):
    with gzip.open(shared_data / "mp20" / "val.csv.gz", "rt") as lines:
        cifs = [row["cif"] for row in itertools.islice(csv.DictReader(lines), 400)]
    crystals = [Structure.from_str(cif, fmt="cif") for cif in cifs]
    small = [crystal for crystal in crystals if len(crystal) <= 6][:50]
    assert len(small) == 50
    for crystal in small:
        structure = record_of(crystal).structure
        ours = sharing_faces(structure, 0.0)
        fractions, _ = solid_angles(ours.vectors_angstrom(structure), np.bincount(ours.centers))
        theirs = VoronoiNN(tol=0, cutoff=10, compute_adj_neighbors=False)
        for atom, cell in enumerate(theirs.get_all_voronoi_polyhedra(crystal)):
            angles = np.sort([face["solid_angle"] / (4 * np.pi) for face in cell.values()])
            found = np.sort(fractions[ours.centers == atom])
            np.testing.assert_allclose(found[found > 1e-3], angles[angles > 1e-3], atol=1e-5)
