import torch
from scipy.spatial.transform import Rotation

from omnimat.modalities.structure.painn import PaiNNSettings
from omnimat.modalities.structure.painn_network import PaiNN
from omnimat.testing.encoder_conformance import as_double
from omnimat.testing.materials import encoder_arrays, example_records, featurizer_for

SETTINGS = PaiNNSettings(preset="tiny")


def test_vectors_turn_with_the_crystal_and_scalars_stay() -> None:
    net = PaiNN(SETTINGS, 8).double()
    arrays = as_double(encoder_arrays(example_records()[:4], featurizer_for(SETTINGS)))
    turn = torch.from_numpy(Rotation.from_euler("xyz", [0.3, 1.1, -0.7]).as_matrix())
    turned = arrays | {"edge_vectors_angstrom": arrays["edge_vectors_angstrom"] @ turn}
    scalars, vectors = net.atom_states(arrays)
    turned_scalars, turned_vectors = net.atom_states(turned)
    torch.testing.assert_close(turned_scalars, scalars)
    torch.testing.assert_close(turned_vectors, torch.einsum("axf,xy->ayf", vectors, turn))
    assert float(vectors.detach().norm()) > 1e-2 * float(scalars.detach().norm())


def test_an_edge_at_the_cutoff_counts_for_nothing() -> None:
    net = PaiNN(SETTINGS, 8).double()
    arrays = {
        "atomic_numbers": torch.tensor([11, 17]),
        "edge_sources": torch.tensor([0, 1]),
        "edge_targets": torch.tensor([1, 0]),
        "num_atoms": torch.tensor([2]),
    }
    along = torch.tensor([[0.0, 0, 1], [0, 0, -1]], dtype=torch.float64)
    at_cutoff, beyond, within = (
        net(arrays | {"edge_vectors_angstrom": length * along}) for length in (5.0, 6.0, 4.5)
    )
    torch.testing.assert_close(at_cutoff, beyond)
    assert float((within - beyond).detach().norm()) > 1e-5


def test_sum_and_mean_differ_by_the_number_of_atoms() -> None:
    arrays = as_double(encoder_arrays(example_records()[:4], featurizer_for(SETTINGS)))
    mean = PaiNN(SETTINGS, 8).double()
    total = PaiNN(SETTINGS.model_copy(update={"pool": "sum"}), 8).double()
    total.load_state_dict(mean.state_dict())
    torch.testing.assert_close(total(arrays), mean(arrays) * arrays["num_atoms"][:, None])
