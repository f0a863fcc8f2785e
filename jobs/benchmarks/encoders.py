#!/usr/bin/env python
"""The speed of a forward and backward pass of every registered encoder on small real crystals."""

import itertools
from typing import Any

import click
import torch
from measure import interleaved, report

from omnimat.modalities.encoder import EncoderSettings
from omnimat.modalities.registry import MODALITIES, encoder_classes
from omnimat.testing.materials import encoder_arrays, example_records, featurizer_for

EMBEDDING_DIM = 128


@click.command()
@click.option("--batch", default=16, show_default=True, help="Number of materials in a batch.")
@click.option("--threads", default=1, show_default=True, help="Number of threads of torch.")
@click.option("--repeats", default=3, show_default=True)
@click.option("--max-atoms", default=20, show_default=True, help="Largest number of atoms.")
@click.option("--preset", "presets", multiple=True, default=("tiny", "paper"), show_default=True)
@click.option("--encoder", "names", multiple=True, help="Measure only these; default: all.")
def main(
    batch: int,
    threads: int,
    repeats: int,
    max_atoms: int,
    presets: tuple[str, ...],
    names: tuple[str, ...],
) -> None:
    """Time a forward and backward pass in float32 for each encoder and preset."""
    torch.set_num_threads(threads)
    rows = []
    for modality in MODALITIES.names:
        for build_settings, preset in itertools.product(encoder_classes(modality), presets):
            try:
                settings = build_settings(preset=preset)
            except ValueError as error:
                # The paper preset of a pretrained language model cannot be built without its files.
                reason = " ".join(str(error).split())
                click.echo(f"left out {build_settings} {preset}: {reason}", err=True)
                continue
            if not names or settings.type in names:
                name = {"modality": modality, "encoder": settings.type, "preset": preset}
                rows.append(name | measure(settings, batch, repeats, max_atoms))
    report(
        "encoders, forward and backward",
        rows,
        batch=batch,
        threads=threads,
        torch=torch.__version__,
    )


def measure(settings: EncoderSettings, batch: int, repeats: int, max_atoms: int) -> dict[str, Any]:
    """Time one encoder on the first materials of the built-in data set."""
    torch.manual_seed(0)
    encoder = settings.build(EMBEDDING_DIM)
    arrays = encoder_arrays(example_records(batch, max_atoms), featurizer_for(settings))

    def step() -> None:
        encoder.zero_grad(set_to_none=True)
        encoder(arrays).square().sum().backward()

    seconds = interleaved({"step": step}, repeats)["step"]
    return {
        "parameters": sum(p.numel() for p in encoder.parameters()),
        "edges": len(arrays["edge_sources"]) if "edge_sources" in arrays else None,
        "ms_per_batch": round(1000 * seconds, 2),
        "samples_per_s": round(batch / seconds, 2),
    }


if __name__ == "__main__":
    main()
