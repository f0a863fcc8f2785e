"""Makes the packages of today's layout, which every later version opens; see fixtures/README.md.

PYTHONPATH=platform python -m pytest tests/inference/make_packages.py
"""

import json
import shutil
from pathlib import Path

import pytest
from upath import UPath

import omnimat
from omnimat.base.workspace import Workspace
from omnimat.inference.build import package
from omnimat.inference.package import Package
from omnimat.models.inputs import featurizers_of, read_cards
from omnimat.sources.prototypes import Prototypes
from omnimat.sources.settings import IngestSettings
from omnimat.training.settings import PretrainSettings

REPOSITORY = Path(__file__).parents[2]
FILES = ("diamond.cif", "NaCl.cif")
NEAREST = {"neighbors": "nearest", "max_neighbors": 8, "lattice_sums": "none"}
SMALL = {"num_convolutions": 1, "hidden_width": 12, "head_width": 8}
PRETRAIN = {
    "dataset": "tiny",
    "modalities": {
        "structure": {
            "featurizer": NEAREST,
            "encoder": {
                "type": "cgcnn",
                "num_convolutions": 1,
                "hidden_width": 12,
                "head_width": 8,
            },
        },
        "composition": {"encoder": {"hidden_widths": [16]}},
    },
    "embedding_dim": 8,
    "objective": {"type": "clip"},
    "training": {"num_epochs": 1, "global_batch_size": 16},
}
SWEEP = {
    "dataset": "tiny",
    "run": "tiny-pretrained",
    "tasks": [
        {"name": "volume", "target": "volume_angstrom3_per_atom", "unit": "angstrom^3/atom"},
        {"name": "system", "target": "crystal_system", "kind": "classification"},
    ],
    "variants": ["finetuned"],
    "learning_rates": [5e-3],
    "seeds": [0, 1],
    "trial": {"num_epochs": 8, "batch_size": 16},
}


@pytest.fixture
def workspace(tmp_path, write_dataset, write_run, write_features, leave_sweep):
    workspace = Workspace(UPath(tmp_path / "storage"))
    source = Prototypes(num_materials=120, max_atoms=6)
    write_dataset(workspace, "tiny", IngestSettings(source=source))
    write_run(workspace, "tiny-pretrained", PretrainSettings.model_validate(PRETRAIN))
    cards = read_cards(workspace.run("tiny-pretrained"))
    write_features(workspace, "tiny", featurizers_of(cards))
    leave_sweep(workspace, "tiny-tuned", SWEEP)
    return workspace


def test_make(workspace, tmp_path):
    made = tmp_path / "made"
    made.mkdir()
    package("tiny-pretrained", workspace, made / "embeds")
    package("tiny-tuned", workspace, made / "predicts.zip")
    for name in FILES:
        shutil.copy(REPOSITORY / "jobs" / "crystals" / name, made / name)
    files = [made / name for name in FILES]
    table = omnimat.load(made / "predicts.zip", "cpu").predict(files).assign(name=FILES)
    model = omnimat.load(made / "embeds", "cpu")
    told = {
        "predictions": json.loads(table.to_json(orient="records", double_precision=15)),
        "structure": model.embed(files).vectors.tolist(),
        "composition": model.embed("LiFePO4", "composition").vectors.tolist(),
    }
    (made / "expected.json").write_text(json.dumps(told, indent=1) + "\n")
    layout = f"v{Package(made / 'embeds').card.version}"
    goal = REPOSITORY / "tests" / "fixtures" / "packages" / layout
    assert not goal.exists(), f"{goal} is there already, and never changed"
    shutil.copytree(made, goal)
