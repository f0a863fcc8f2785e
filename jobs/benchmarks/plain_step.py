"""The peer of start.py: one training step on the records of a job file, as a plain script.

    python jobs/benchmarks/plain_step.py jobs/pretrain.yaml STORAGE

No Ray, no DeepSpeed, no plan, no checkpoint: it reads the data set, featurizes a batch, builds the
same encoders and makes one step of AdamW.
"""

import sys
from itertools import islice
from pathlib import Path

import torch
from upath import UPath

from omnimat.job.kinds.pretrain import PretrainJob
from omnimat.job.load import load_as
from omnimat.modalities.batch import collate, feature_table
from omnimat.shards.manifest import Manifest
from omnimat.shards.reader import read_records
from omnimat.stream.source import decoded
from omnimat.training.feed import micro_batch
from omnimat.training.loop import build_model


def main(job_file: str, storage: str) -> None:
    """Make one step and print its loss."""
    settings = load_as(PretrainJob, Path(job_file)).settings
    folder = UPath(storage) / "datasets" / settings.dataset
    records = Manifest.load(folder).records(folder).query("split == 'train'")
    raw = islice(read_records(folder, records), settings.training.global_batch_size)
    featurizers = settings.modalities.featurizers()
    batch = collate(feature_table(map(decoded, raw), featurizers), featurizers)
    model = build_model(settings)
    optimizer = torch.optim.AdamW(model.parameters(), settings.training.lr)
    embeddings, logit_scale = model(*micro_batch(batch, torch.device("cpu")))
    parts = settings.objective(embeddings, embeddings, 0, logit_scale)
    loss = torch.stack(list(parts.values())).sum()
    loss.backward()
    optimizer.step()
    print(f"step 1/1  loss {loss.item():.4f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
