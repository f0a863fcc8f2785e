import torch
import torch.nn.functional as F

from omnimat.modalities.dos.transformer import DosTransformerSettings
from omnimat.modalities.dos.transformer_network import Block


def test_the_block_equals_its_published_form() -> None:
    block = Block(DosTransformerSettings(preset="tiny", num_heads=2, head_width=16)).double()
    x = torch.randn(1, 5, 32, dtype=torch.float64)
    normal = F.layer_norm(x, (32,), block.attention_norm.weight, block.attention_norm.bias)
    query, key, value = block.query_key_value(normal)[0].chunk(3, dim=1)
    heads = []
    for head in range(2):
        of_head = slice(16 * head, 16 * head + 16)
        weights = torch.softmax(query[:, of_head] @ key[:, of_head].T / 4, dim=1)
        heads.append(weights @ value[:, of_head])
    attended = x[0] + block.attended(torch.cat(heads, dim=1))
    torch.testing.assert_close(block(x)[0], attended + block.mlp(attended))


def test_points_may_come_in_any_order_and_number() -> None:
    encoder = DosTransformerSettings(preset="tiny").build(32).double()
    arrays = {"energies_ev": torch.randn(2, 40).double(), "dos_per_ev": torch.rand(2, 40).double()}
    order = torch.randperm(40)
    shuffled = {name: array[:, order] for name, array in arrays.items()}
    torch.testing.assert_close(encoder(arrays), encoder(shuffled))
    assert encoder({name: array[:, :7] for name, array in arrays.items()}).shape == (2, 32)
