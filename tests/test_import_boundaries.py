"""Rooms stay apart: what is pure loads no engine, and thousands of actors pay for no torch."""

import pkgutil
import subprocess
import sys

import pytest

import omnimat.modalities

PURE = [
    "materials.record",
    "base.settings",
    "materials.split",
    "base.workspace",
    "shards.codec",
    "shards.manifest",
    "shards.reader",
    "shards.writer",
    "modalities.registry",
    "modalities.batch",
    "modalities.encoder",
    "training.model",
    "models.export",
    "objectives.registry",
    "leaderboard.store",
    "leaderboard.report",
    "leaderboard.metrics",
    "verification.verify",
    "cli.recomputation",
    "evaluation.ranks",
    "evaluation.section",
    "evaluation.settings",
    "search.search",
    "modalities.choices",
    "stream.order",
    "stream.unit",
    "stream.store",
    "stream.source",
    "stream.worker",
]
WALKED = pkgutil.walk_packages(omnimat.modalities.__path__, "modalities.")
EVERY_MODALITY = [module.name for module in WALKED]
LEARNING = ["training.loop", "training.context", "training.engine", "training.checkpoint"]
# What a machine needs that has a feature store and little but torch.
WITHOUT_RECORDS = [
    *LEARNING,
    "finetune.trial",
    "models.embed",
    "testing.synthetic_store",
    "job.kinds.pretrain",
]
RECORDS_ONLY = [name for name in PURE if name.split(".")[0] in {"materials", "shards"}]
NO_TORCH = [
    *RECORDS_ONLY,
    "modalities.registry",
    "modalities.batch",
    "inference.features",
    "stream.order",
    "stream.source",
    "stream.worker",
    "stream.featurize",
    "stream.pipeline",
    "leaderboard.store",
    # A driver of Ray, and the controller of Ray Train, which has its workers' process group set up.
    "cluster.session",
    "training.pretrain",
    "training.ray_process_group",
    "training.forecast.expectation",
]


@pytest.mark.parametrize(
    ("modules", "banned"),
    [
        (PURE, {"ray", "deepspeed"}),
        (EVERY_MODALITY, {"ray", "deepspeed"}),
        (LEARNING, {"ray", "deepspeed"}),
        (WITHOUT_RECORDS, {"ray", "deepspeed", "pymatgen", "ase", "gemmi", "sqlalchemy"}),
        (NO_TORCH, {"torch", "deepspeed"}),
        (RECORDS_ONLY, {"torch", "ray", "pymatgen", "matminer"}),
        (
            ["leaderboard.store", "leaderboard.exchange", "cli.leaderboard"],
            {"torch", "ray", "pymatgen"},
        ),
    ],
    ids=["pure", "modalities", "learning", "without records", "no torch", "records", "leaderboard"],
)
def test_importing_loads_nothing_it_should_not(modules, banned):
    names = ", ".join(f"omnimat.{name}" for name in modules)
    program = f"import sys, {names}; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    loaded = set(result.stdout.split())
    assert not banned & loaded
