import functools

import pytest
from upath import UPath

from omnimat.base.checked_json import write_checked_json
from omnimat.base.workspace import RESULT, TRIAL, Workspace
from omnimat.finetune.outcome import trial_folder
from omnimat.finetune.plan import make_plan
from omnimat.finetune.rows import best_points
from omnimat.finetune.settings import FinetuneSettings
from omnimat.finetune.trial import predict, run_trial
from omnimat.finetune.tuning import judged
from omnimat.inference.build import package
from omnimat.materials.record import Record
from omnimat.models.inputs import featurizers_of, read_cards
from omnimat.sources.prototypes import Prototypes
from omnimat.training.settings import PretrainSettings

NUM_RECORDS = 200
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
