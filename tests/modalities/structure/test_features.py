import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from scipy.spatial.transform import Rotation

from omnimat.base.settings import identity
from omnimat.materials.record import Record
from omnimat.materials.record import Structure as RecordStructure
from omnimat.modalities.structure.features import CrystalGraph
from omnimat.modalities.structure.lattice_sums import lattice_sums
from omnimat.testing.materials import example_records


def edges(arrays) -> np.ndarray:
    """Return sorted rows (source element, target element, vector) to compare graphs."""
    numbers = arrays["atomic_numbers"]
    rows = np.column_stack(
        [
            numbers[arrays["edge_sources"]],
            numbers[arrays["edge_targets"]],
            arrays["edge_vectors_angstrom"].round(3) + 0.0,
        ]
    )
    return rows[np.lexsort(rows.T)]


def gec() -> Structure:
    cell = 4.3868 / 2 * np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]])
    return Structure(Lattice(cell), ["Ge", "C"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def test_gec_has_18_neighbors_and_72_reference_edges(record_of):
    record = record_of(gec())
    clean = CrystalGraph()(record)
    reference = CrystalGraph(edge_mode="reference")(record)
    assert len(clean["edge_sources"]) == 36
    assert len(reference["edge_sources"]) == 72
    twice = np.repeat(edges(clean), 2, axis=0)
    np.testing.assert_array_equal(edges(reference), twice[np.lexsort(twice.T)])


def test_edges_are_the_nearest_images(record_of, triclinic):
    """Compare with every image within reach, found here without a neighbour list."""
    graph = CrystalGraph(max_neighbors=9)
    arrays = graph(record_of(triclinic))
    images = np.indices((7, 7, 7)).reshape(3, -1).T - 3
    found = set()
    for i, at in enumerate(triclinic.frac_coords):
        steps = triclinic.frac_coords[:, None] + images - at
        vectors = steps @ triclinic.lattice.matrix
        distances = np.linalg.norm(vectors, axis=2)
        distances[distances < 1e-6] = np.inf
        kth = np.sort(distances, axis=None)[8] + 1e-3
        for j, k in np.argwhere(distances <= kth):
            x, y, z = vectors[j, k].round(3) + 0.0
            found |= {(i, int(j), x, y, z), (int(j), i, -x + 0.0, -y + 0.0, -z + 0.0)}
    vectors = arrays["edge_vectors_angstrom"].astype(np.float64).round(3) + 0.0
    ours = {
        (int(i), int(j), *v)
        for i, j, v in zip(arrays["edge_sources"], arrays["edge_targets"], vectors, strict=True)
    }
    assert len(ours) == len(arrays["edge_sources"])
    assert ours == found


@pytest.mark.parametrize("edge_mode", ["clean", "reference"])
def test_edges_come_in_opposite_pairs(record_of, triclinic, edge_mode):
    arrays = CrystalGraph(edge_mode=edge_mode)(record_of(triclinic))
    swapped = {
        **arrays,
        "edge_sources": arrays["edge_targets"],
        "edge_targets": arrays["edge_sources"],
        "edge_vectors_angstrom": -arrays["edge_vectors_angstrom"],
    }
    np.testing.assert_array_equal(edges(arrays), edges(swapped))


def test_self_image_edges_keep_their_length(record_of):
    """The neighbours of a single atom are its own images: 6 at a and 12 at a sqrt(2)."""
    arrays = CrystalGraph()(record_of(Structure(Lattice.cubic(3.35), ["Po"], [[0, 0, 0]])))
    lengths = np.linalg.norm(arrays["edge_vectors_angstrom"], axis=1)
    expected = [3.35] * 6 + [3.35 * np.sqrt(2)] * 12
    np.testing.assert_allclose(np.sort(lengths), expected, rtol=1e-6)
    assert not arrays["edge_sources"].any()


def test_radius_grows_for_sparse_crystals(record_of):
    arrays = CrystalGraph()(record_of(Structure(Lattice.cubic(30), ["Po"], [[0, 0, 0]])))
    assert len(arrays["edge_sources"]) == 18


def within(cutoff_angstrom: float, max_neighbors: int | None = None) -> CrystalGraph:
    return CrystalGraph(
        neighbors="within_cutoff",
        cutoff_angstrom=cutoff_angstrom,
        max_neighbors=max_neighbors,
        lattice_sums="none",
    )


def test_rock_salt_within_5_angstrom(record_of, nacl):
    """Each atom has 6 neighbours at a/2, 12 of its own element at a/sqrt(2), 8 at a sqrt(3)/2."""
    arrays = within(5)(record_of(nacl.get_primitive_structure()))
    assert len(arrays["edge_sources"]) == 52
    own = arrays["edge_sources"] == arrays["edge_targets"]
    lengths = np.linalg.norm(arrays["edge_vectors_angstrom"], axis=1)
    np.testing.assert_allclose(lengths[own], 5.64 / np.sqrt(2), rtol=1e-6)
    expected = [2.82] * 12 + [2.82 * np.sqrt(3)] * 16
    np.testing.assert_allclose(np.sort(lengths[~own]), expected, rtol=1e-6)
    assert len(np.unique(edges(arrays), axis=0)) == 52


def test_within_the_cutoff_is_every_image(record_of, triclinic):
    """Compare with every image within reach, found here without a neighbour list."""
    arrays = within(6.2)(record_of(triclinic))
    images = np.indices((9, 9, 9)).reshape(3, -1).T - 4
    expected = []
    for i, at in enumerate(triclinic.frac_coords):
        vectors = (triclinic.frac_coords[:, None] + images - at) @ triclinic.lattice.matrix
        distances = np.linalg.norm(vectors, axis=2)
        for j, k in np.argwhere((distances > 1e-6) & (distances <= 6.2)):
            expected.append([triclinic[i].specie.Z, triclinic[int(j)].specie.Z, *vectors[j, k]])
    rows = np.array(expected).round(3) + 0.0
    given = edges(arrays)
    assert given.shape == rows.shape
    np.testing.assert_allclose(given, rows[np.lexsort(rows.T)], atol=1e-6)


def test_a_cap_keeps_the_nearest_and_their_ties(record_of, nacl):
    record = record_of(nacl.get_primitive_structure())
    for cap, num_neighbors in [(1, 6), (6, 6), (7, 18), (20, 26), (100, 26)]:
        assert len(within(5, cap)(record)["edge_sources"]) == 2 * num_neighbors, cap
    assert len(within(3.9, 20)(record)["edge_sources"]) == 2 * 6


def test_within_the_cutoff_there_may_be_nobody(record_of):
    lone = record_of(Structure(Lattice.cubic(30), ["Po"], [[0, 0, 0]]))
    for graph in (within(5), within(5, 16)):
        arrays = graph(lone)
        assert arrays["edge_vectors_angstrom"].shape == (0, 3)
        assert arrays["edge_sources"].dtype == np.int32


def test_some_atoms_may_have_nobody(record_of):
    """Two of three atoms are neighbours; the third lies between them in the list."""
    crystal = Structure(
        Lattice.cubic(30), ["Na", "Po", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.09, 0, 0]]
    )
    for graph in (within(5), within(5, 1), within(5, 2)):
        arrays = graph(record_of(crystal))
        assert arrays["edge_sources"].tolist() == [0, 2]
        assert arrays["edge_targets"].tolist() == [2, 0]


def test_the_nearest_need_a_number():
    with pytest.raises(ValueError, match=r"max_neighbors.*within_cutoff"):
        CrystalGraph(max_neighbors=None)


def test_all_faces_of_a_cell_count():
    with pytest.raises(ValueError, match=r"voronoi.*max_neighbors to null"):
        CrystalGraph(neighbors="voronoi")


def voronoi(**keys) -> CrystalGraph:
    return CrystalGraph(neighbors="voronoi", max_neighbors=None, lattice_sums="none", **keys)


def test_neighbors_are_part_of_the_fingerprint():
    graphs = [CrystalGraph(), CrystalGraph(neighbors="within_cutoff"), within(4), within(5)]
    graphs += [voronoi(), voronoi(min_solid_angle_fraction=0.01), CrystalGraph(multiplicity=True)]
    assert len({graph.fingerprint() for graph in graphs}) == len(graphs)


def test_what_is_not_asked_for_is_no_part_of_the_identity():
    """So that what was featurized before these options existed is found again."""
    assert identity(CrystalGraph()) == {"type": "crystal_graph"}


def test_permutation(record_of, triclinic):
    order = [3, 0, 4, 1, 2]
    permuted = Structure.from_sites([triclinic[i] for i in order])
    graph = CrystalGraph()
    first, second = graph(record_of(triclinic)), graph(record_of(permuted))
    np.testing.assert_array_equal(edges(first), edges(second))
    full = np.empty((2, 5, 5, 3))
    i, j = np.triu_indices(5)
    for sums, arrays in zip(full, (first, second), strict=True):
        sums[i, j] = sums[j, i] = arrays["pair_potentials"]
    np.testing.assert_allclose(full[1], full[0][order][:, order], atol=1e-6)


def test_rotation_turns_vectors_and_leaves_sums(record_of, triclinic):
    turn = Rotation.from_euler("xyz", [0.3, 1.1, -0.7]).as_matrix()
    turned = Structure(
        triclinic.lattice.matrix @ turn,
        triclinic.species,
        triclinic.frac_coords,
        to_unit_cell=False,
    )
    graph = CrystalGraph()
    first, second = graph(record_of(triclinic)), graph(record_of(turned))
    np.testing.assert_array_equal(first["edge_sources"], second["edge_sources"])
    np.testing.assert_array_equal(first["edge_targets"], second["edge_targets"])
    np.testing.assert_allclose(
        first["edge_vectors_angstrom"] @ turn, second["edge_vectors_angstrom"], atol=1e-5
    )
    np.testing.assert_allclose(first["pair_potentials"], second["pair_potentials"], atol=1e-6)


def test_supercell_repeats_the_edges(record_of, nacl):
    graph = CrystalGraph(lattice_sums="none")
    one = edges(graph(record_of(nacl)))
    eight = edges(graph(record_of(nacl.make_supercell(2, in_place=False))))
    repeated = np.repeat(one, 8, axis=0)
    np.testing.assert_array_equal(eight, repeated[np.lexsort(repeated.T)])


def test_coordinates_outside_the_cell(record_of, triclinic):
    moved = Structure(
        triclinic.lattice,
        triclinic.species,
        triclinic.frac_coords + np.array([[2, 0, -1], [0, 0, 0], [-3, 1, 0], [0, 0, 1], [1, 1, 1]]),
        to_unit_cell=False,
    )
    graph = CrystalGraph()
    first, second = graph(record_of(triclinic)), graph(record_of(moved))
    np.testing.assert_array_equal(edges(first), edges(second))
    np.testing.assert_allclose(first["pair_potentials"], second["pair_potentials"], atol=1e-6)


def test_an_encoder_that_sums_gets_what_the_sums_follow_from(record_of, triclinic):
    record = record_of(triclinic)
    graph = CrystalGraph(lattice_sums="in_encoder", pauli_scaling="reference")
    arrays = graph(record)
    assert "pair_potentials" not in arrays
    sums = lattice_sums(
        arrays["lattice_angstrom"],
        arrays["frac_coords"],
        pauli_decay_per_angstrom=float(arrays["pauli_decay_per_angstrom"]),
    )
    featurized = CrystalGraph(pauli_scaling="reference")(record)["pair_potentials"]
    np.testing.assert_array_equal(sums.astype(np.float32), featurized)


def test_pair_potentials_can_be_left_out(record_of, nacl):
    graph = CrystalGraph(lattice_sums="none")
    assert "pair_potentials" not in graph(record_of(nacl))
    assert [f.name for f in graph.fields] == [
        "atomic_numbers",
        "edge_sources",
        "edge_targets",
        "edge_vectors_angstrom",
    ]
    assert CrystalGraph()(record_of(nacl))["pair_potentials"].shape == (36, 3)


@pytest.mark.parametrize(
    ("lattice", "numbers", "fractional", "reason"),
    [
        (np.eye(3) * 4, [], np.empty((0, 3)), "no atoms"),
        (np.eye(3) * 4, [0], np.zeros((1, 3)), "atomic number"),
        (np.eye(3) * 4, [119], np.zeros((1, 3)), "atomic number"),
        (np.diag([4.0, 4, 0]), [1], np.zeros((1, 3)), "no volume"),
        (np.eye(3) * np.nan, [1], np.zeros((1, 3)), "no volume"),
        (np.eye(3) * 4, [1], np.full((1, 3), np.nan), "not finite"),
        (np.eye(3) * 4, [1, 1], np.array([[0, 0, 0], [1.0, 0, 0]]), "coincide"),
    ],
)
def test_refuses_broken_structures(lattice, numbers, fractional, reason):
    structure = RecordStructure(lattice, np.array(numbers, dtype=np.int32), fractional)
    with pytest.raises(ValueError, match=reason):
        CrystalGraph(lattice_sums="none")(Record("broken", {"structure": structure}))


def test_the_reduced_lattice_is_the_shortest_of_the_same_crystal(record_of, triclinic):
    featurizer = CrystalGraph(reduced_lattice=True, lattice_sums="none")
    skewed = triclinic.copy()
    skewed.make_supercell([[1, 2, 0], [0, 1, 3], [0, 0, 1]])  # the same lattice in other vectors
    turn = Rotation.from_euler("xyz", [0.3, 1.1, -0.7]).as_matrix()
    turned = Structure(
        Lattice(skewed.lattice.matrix @ turn), skewed.species, skewed.frac_coords, to_unit_cell=True
    )
    expected = sorted(triclinic.lattice.get_niggli_reduced_lattice().abc)
    for crystal in (triclinic, turned):
        reduced = featurizer(record_of(crystal))["reduced_lattice_angstrom"]
        # Coordinates are stored in float32.
        np.testing.assert_allclose(np.linalg.norm(reduced, axis=1), expected, rtol=1e-6)
        assert abs(np.linalg.det(reduced)) == pytest.approx(triclinic.volume, rel=1e-6)
    assert "reduced_lattice_angstrom" not in CrystalGraph()(record_of(triclinic))


@pytest.mark.parametrize(
    "graph",
    [
        CrystalGraph(),
        CrystalGraph(edge_mode="reference", max_neighbors=12, lattice_sums="in_encoder"),
        CrystalGraph(neighbors="within_cutoff", cutoff_angstrom=8.0, lattice_sums="none"),
        within(5),
        voronoi(),
    ],
)
def test_the_number_of_atoms_tells_about_how_many_edges_there_are(graph):
    structures = [record.structure for record in example_records(40, max_atoms=20)]
    num_atoms = np.array([len(structure.atomic_numbers) for structure in structures])
    edges = sum(len(graph.of_structure(one)["edge_sources"]) for one in structures)
    if graph.lattice_sums != "none":
        edges += int((num_atoms**2).sum())
    assert 0.8 < edges / graph.num_edges(num_atoms).sum() < 1.4
    assert graph.num_edges(np.array([0])) == 0
