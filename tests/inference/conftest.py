import functools
import json
import resource
from pathlib import Path

import pytest
from click.testing import CliRunner
from upath import UPath

import omnimat
from omnimat.base.checked_json import write_checked_json
from omnimat.base.errors import UserError
from omnimat.base.workspace import RESULT, TRIAL, Workspace
from omnimat.cli.main import main
from omnimat.finetune.outcome import trial_folder
from omnimat.finetune.plan import make_plan
from omnimat.finetune.rows import best_points
from omnimat.finetune.settings import FinetuneSettings
from omnimat.finetune.trial import predict, run_trial
from omnimat.finetune.tuning import judged
from omnimat.inference.build import package
from omnimat.inference.package import Package, stored
from omnimat.materials.record import Record
from omnimat.models.inputs import featurizers_of, read_cards
from omnimat.sources.prototypes import Prototypes
from omnimat.testing.packages import write_package
from omnimat.training.settings import PretrainSettings

NUM_RECORDS = 200
SPARE_BYTES = 512 << 20
WEIGHTS = "members/seed0.safetensors"
TARGET = "volume_angstrom3_per_atom"
PRETRAIN = {
    "dataset": "data",
    "modalities": {
        "structure": {"encoder": {"preset": "tiny"}},
        "composition": {"encoder": {"preset": "tiny"}},
    },
    "embedding_dim": 16,
    "objective": {"type": "clip"},
    "training": {"num_epochs": 1, "global_batch_size": 16},
}
SWEEP = {
    "dataset": "data",
    "run": "pre",
    "modalities": ["structure"],
    "tasks": [
        {"name": "volume", "target": TARGET, "unit": "angstrom^3/atom"},
        {"name": "system", "target": "crystal_system", "kind": "classification"},
    ],
    "variants": ["finetuned"],
    "learning_rates": [5e-3],
    "seeds": [0, 1],
    "trial": {"num_epochs": 6, "batch_size": 32},
}


@pytest.fixture(scope="session")
def records() -> list[Record]:
    return list(Prototypes(num_materials=NUM_RECORDS).read(0, NUM_RECORDS))


def write_sweep(workspace: Workspace, name: str, choices: dict, changed=None) -> None:
    """Leave what a sweep leaves, but for its rows; ``changed`` may change the result of a trial."""
    settings = FinetuneSettings.model_validate(choices)
    run = workspace.run(name)
    plan = make_plan(settings, workspace, read_cards(workspace.run(settings.run)))
    results = []
    for trial in settings.trials():
        folder = trial_folder(run, trial)
        result = run_trial(plan, trial, folder, lambda entry: None)
        results.append(result if changed is None else changed(result))
        write_checked_json(folder / TRIAL, results[-1].model_dump(mode="json"))
    chosen = best_points(judged(settings, results))
    content = {
        "settings": settings.model_dump(mode="json"),
        "chosen": [
            {key: value for key, value in contender._asdict().items() if value is not None}
            | dict(point)
            for contender, point in chosen.items()
        ],
    }
    write_checked_json(run / RESULT, content)


@pytest.fixture(scope="session")
def storage(tmp_path_factory, records, write_records, write_features, write_run) -> Workspace:
    """A data set, a run ``pre`` of encoders that have learned nothing, and a finished ``sweep``."""
    workspace = Workspace(UPath(tmp_path_factory.mktemp("storage")))
    places = {record.material_id: place for place, record in enumerate(records)}
    splits = {7: "validation", 8: "validation", 9: "test"}
    split_of = lambda material: splits.get(places[material] % 10, "train")  # noqa: E731
    write_records(workspace.dataset("data"), [records], split_of)
    write_run(workspace, "pre", PretrainSettings.model_validate(PRETRAIN))
    cards = read_cards(workspace.run("pre"))
    write_features(workspace, "data", featurizers_of(cards))
    write_sweep(workspace, "sweep", SWEEP)
    return workspace


@pytest.fixture(scope="session")
def leave_sweep():
    """Leave a sweep in any storage: ``leave_sweep(workspace, name, choices)``."""
    return write_sweep


@pytest.fixture(scope="session")
def sweep_in(storage):
    """Leave a further sweep in the storage: ``sweep_in(name, choices)``."""
    return functools.partial(write_sweep, storage)


@pytest.fixture(scope="session")
def packed(storage, tmp_path_factory):
    """The sweep as a folder, away from its storage."""
    folder = tmp_path_factory.mktemp("packed") / "volume"
    package("sweep", storage, folder)
    return folder


@pytest.fixture(scope="session")
def sweep_settings():
    return FinetuneSettings.model_validate(SWEEP)


@pytest.fixture(scope="session")
def of_the_run(storage, sweep_settings):
    """What each trial predicts for the test split, by the run's own function."""
    from omnimat.finetune.outcome import read_result

    plan = make_plan(sweep_settings, storage, read_cards(storage.run("pre")))
    trials = sweep_settings.trials()
    folders = {trial: trial_folder(storage.run("sweep"), trial) for trial in trials}
    return [
        predict(plan, read_result(plan, trial, folder), folder, "test")
        for trial, folder in folders.items()
    ]


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """The card and the other files of a package."""
    folder = tmp_path_factory.mktemp("honest") / "model"
    write_package(folder)
    card = json.loads((folder / "card.json").read_text())
    del card["checksum"]
    return card, {name: (folder / name).read_bytes() for name in card["files"]}


@pytest.fixture
def little_memory(records, honest, tmp_path):
    """Allow this process little more address space than it has, once all libraries are loaded."""
    assert used(written(tmp_path / "warm", *honest), records[0]) == [None] * 5
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + SPARE_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def written(folder, card, files, text=None):
    """Write a package with the right hashes."""
    described = {name: one.model_dump() for name, one in stored(files).items()}
    more = card.get("more_files", {})
    told = {key: value for key, value in card.items() if key != "more_files"}
    told = json.dumps(told | {"files": described | more})
    data_of = files | {"card.json": told.encode() if text is None else text}
    for name, data in data_of.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def used(path, record):
    """Use a package in every way; give for each why it was refused, or None."""
    found = []
    for use in (
        lambda: Package(path).check(),
        lambda: omnimat.load(path, "cpu").embed(record, progress=False),
        lambda: omnimat.load(path, "cpu").predict(record, progress=False),
    ):
        try:
            use()
        except UserError as error:
            found.append(str(error))
        else:
            found.append(None)
    for command in (("models", "show", str(path)), ("models", "check", str(path))):
        result = CliRunner().invoke(main, command)
        assert result.exit_code in {0, 2}, (command, result.exception)
        found.append(result.output if result.exit_code else None)
    return found
