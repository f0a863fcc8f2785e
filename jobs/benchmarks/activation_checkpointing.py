#!/usr/bin/env python
"""Memory and time of a training step with activations kept, and with them computed again."""

import json
import time
from typing import Any

import click
import torch
from measure import in_fresh_process, peak_mb, report, start_peak_mb

from omnimat.modalities.registry import all_encoder_classes
from omnimat.nn.checkpointing import checkpoint_layers
from omnimat.testing.materials import encoder_arrays, example_records, featurizer_for

EMBEDDING_DIM = 128
DEFAULT = ("potnet", "cgcnn", "gated_graph", "painn", "dimenetpp", "xrd_cnn", "text_transformer")


@click.command()
@click.option("--batch", default=64, show_default=True, help="Number of materials in a batch.")
@click.option("--max-atoms", default=20, show_default=True, help="Largest number of atoms.")
@click.option("--threads", default=1, show_default=True, help="Number of threads of torch.")
@click.option("--repeats", default=2, show_default=True)
@click.option("--encoder", "names", multiple=True, default=DEFAULT, show_default=True)
@click.option("--measure", "mode", type=click.Choice(["kept", "again"]), hidden=True)
def main(
    batch: int,
    max_atoms: int,
    threads: int,
    repeats: int,
    names: tuple[str, ...],
    mode: str | None,
) -> None:
    """Take steps of forward and backward of each encoder's default size, in processes in turn."""
    torch.set_num_threads(threads)
    if mode is not None:
        measure(names[0], batch, max_atoms, repeats, is_again=mode == "again")
        return
    shape = ["--batch", batch, "--max-atoms", max_atoms, "--threads", threads, "--repeats", repeats]
    rows = []
    for name in names:
        kept, again = (
            in_fresh_process(*shape, "--encoder", name, "--measure", mode)
            for mode in ("kept", "again")
        )
        rows.append(compared(name, kept, again))
    report("activations kept, or computed again", rows, batch=batch, threads=threads)


def compared(name: str, kept: dict[str, Any], again: dict[str, Any]) -> dict[str, Any]:
    """Put the two ways beside each other."""
    assert again["gradient"] == kept["gradient"], "the numbers are not the same"
    return {
        "encoder": name,
        "kept, peak MB": round(kept["step_mb"]),
        "again, peak MB": round(again["step_mb"]),
        "memory": round(again["step_mb"] / kept["step_mb"], 2),
        "kept, s": round(kept["step_s"], 3),
        "again, s": round(again["step_s"], 3),
        "time": round(again["step_s"] / kept["step_s"], 2),
    }


def measure(name: str, batch: int, max_atoms: int, repeats: int, *, is_again: bool) -> None:
    """Take steps, and print what the best cost in time and what they added to memory."""
    (build_settings,) = (
        one for one in all_encoder_classes() if one.model_fields["type"].default == name
    )
    settings = build_settings()
    settings = settings.fitted_to(featurizer_for(settings))
    torch.manual_seed(0)
    encoder = settings.build(EMBEDDING_DIM)
    few, many = (
        encoder_arrays(example_records(count, max_atoms), featurizer_for(settings))
        for count in (2, batch)
    )
    if is_again:
        checkpoint_layers(encoder)
    encoder(few).square().sum().backward()  # torch imports and allocates what is no activation
    before_mb = start_peak_mb()
    seconds = []
    for _ in range(repeats):
        encoder.zero_grad()
        start = time.process_time()
        encoder(many).square().sum().backward()
        seconds.append(time.process_time() - start)
    gradient = sum(float(p.grad.double().abs().sum()) for p in encoder.parameters())
    step_mb = peak_mb() - before_mb
    print(json.dumps({"step_s": min(seconds), "step_mb": step_mb, "gradient": gradient}))


if __name__ == "__main__":
    main()
