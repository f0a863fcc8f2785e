#!/usr/bin/env python
"""Whether a training learns the same by our form of a network as by its published one.

    python jobs/benchmarks/losses.py --dataset $OMNIMAT_STORAGE/datasets/unimat-mp20

Both forms begin with the same weights and see the same batches, drawn anew for each step. They
learn the volume per atom. In float64, only the order of summation could set them apart; in float32,
the same network with its crystals in another order shows how much that alone does.
"""

from collections.abc import Callable, Mapping, Sequence

import click
import numpy as np
import torch
from graph_encoders import EMBEDDING_DIM, WITH_SUMS, WITHIN, crystals
from measure import report
from torch import Tensor, nn

from omnimat.materials.record import Record
from omnimat.modalities.structure.cgcnn import CgcnnSettings
from omnimat.modalities.structure.features import CrystalGraph
from omnimat.modalities.structure.potnet import PotNetSettings
from omnimat.testing.materials import encoder_arrays
from omnimat.testing.published_graphs import in_published_form

BUILT: Mapping[str, tuple[CrystalGraph, Callable[[], nn.Module]]] = {
    "cgcnn": (WITHIN, lambda: CgcnnSettings().build(EMBEDDING_DIM)),
    "potnet": (WITH_SUMS, lambda: PotNetSettings().build(EMBEDDING_DIM)),
}
Batches = list[list[Record]]


def losses_of(
    network: nn.Module, graph: CrystalGraph, batches: Batches, dtype: torch.dtype
) -> Tensor:
    """Train a network to tell the volume per atom, and return the loss of each step."""
    torch.manual_seed(1)
    model = nn.Sequential(network, nn.Linear(EMBEDDING_DIM, 1)).to(dtype)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for records in batches:
        arrays = {
            key: value.to(dtype) if value.is_floating_point() else value
            for key, value in encoder_arrays(records, graph).items()
        }
        loss = (model(arrays).squeeze(-1) - log_volumes(records).to(dtype)).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses).double()


def log_volumes(records: Sequence[Record]) -> Tensor:
    """Return the logarithm of the volume per atom in cubic angstrom, shape (n,)."""
    structures = [record.structure for record in records if record.structure is not None]
    volumes = [
        abs(np.linalg.det(one.lattice_angstrom)) / len(one.atomic_numbers) for one in structures
    ]
    return torch.from_numpy(np.log(volumes))


def compared(name: str, batches: Batches, dtype: torch.dtype) -> dict[str, object]:
    """Train the forms of one network, and say how far their losses lie apart."""
    graph, build = BUILT[name]

    def trained(form: Callable[[nn.Module], nn.Module], order: int = 1) -> Tensor:
        torch.manual_seed(0)
        return losses_of(form(build()), graph, [batch[::order] for batch in batches], dtype)

    ours, published = trained(lambda network: network), trained(in_published_form)
    reversed_order = trained(lambda network: network, order=-1)
    return {
        "network": name,
        "precision": str(dtype).removeprefix("torch."),
        "first": round(float(ours[0]), 5),
        "ours": round(float(ours[-10:].mean()), 5),
        "published": round(float(published[-10:].mean()), 5),
        "reversed": round(float(reversed_order[-10:].mean()), 5),
        "apart": f"{float((ours - published).abs().max()):.1e}",
        "apart if reversed": f"{float((ours - reversed_order).abs().max()):.1e}",
    }


@click.command()
@click.option("--steps", default=100, show_default=True)
@click.option("--batch", default=16, show_default=True, help="Number of crystals in a batch.")
@click.option("--dataset", "folder", help="Folder of a data set; default: built-in prototypes.")
@click.option("--network", "chosen", multiple=True, help="Networks; default: all.")
def main(steps: int, batch: int, folder: str | None, chosen: tuple[str, ...]) -> None:
    """Train CGCNN and PotNet in both forms, and compare the losses.

    The columns are the first loss, the means of the last ten, and the largest differences.
    """
    torch.set_num_threads(1)
    records = crystals(20 * batch, folder)
    generator = np.random.default_rng(0)
    batches = [
        [records[place] for place in generator.choice(len(records), batch, replace=False)]
        for _ in range(steps)
    ]
    rows = [
        compared(name, batches, dtype)
        for name in chosen or BUILT
        for dtype in (torch.float64, torch.float32)
    ]
    report("losses of two forms of a network", rows, steps=steps, batch=batch)


if __name__ == "__main__":
    main()
