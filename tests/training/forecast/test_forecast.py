"""What forecasts say, from rates that are given: nothing is measured here."""

import pytest
from upath import UPath

from omnimat.base.workspace import Workspace
from omnimat.sources.prototypes import Prototypes
from omnimat.sources.settings import IngestSettings
from omnimat.stream.store import StoreCard
from omnimat.training.forecast.comparison import comparison_s, num_others
from omnimat.training.forecast.expectation import expectation
from omnimat.training.forecast.forecast import Prices, assumptions, forecasts
from omnimat.training.forecast.measure import num_embedding_bytes
from omnimat.training.forecast.prediction import Machines
from omnimat.training.forecast.rates import Rates, StepCost, rates_file
from omnimat.training.plan import make_plan
from omnimat.training.settings import PretrainSettings

RATES = Rates(
    device="cpu",
    hardware={"cpu": "some CPU", "cores": 2, "gpus": ["some GPU"]},
    measured_at="2026-11-20T00:00:00+00:00",
    load_average=0.5,
    read_s=0.0005,
    featurize_s=0.0095,
    collate_s=0.0001,
    step=StepCost(fixed_s=0.02, per_sample_s=0.001, comparison_s=1e-9),
    waiting_s=0.0,
    largest_share=2,
    gradient_bytes=4_000_000,
    embedding_bytes=1_000,
)
MODALITIES = {
    "structure": {"encoder": {"preset": "tiny"}},
    "dos": {"encoder": {"preset": "tiny"}},
    "text": {"featurizer": {"source": "hashed"}, "encoder": {"preset": "tiny"}},
}


def new_settings(*modalities, objective="clip", stream=None, augmentation=None, **training):
    own = {} if augmentation is None else {"augmentation": augmentation}
    return PretrainSettings.model_validate(
        {
            "dataset": "data",
            "modalities": {name: MODALITIES[name] | own for name in modalities},
            "embedding_dim": 8,
            "objective": {"type": objective},
            "stream": stream or {},
            "training": {"global_batch_size": 12} | training,
        }
    )


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, write_dataset):
    workspace = Workspace(UPath(tmp_path_factory.mktemp("storage")))
    ingest(write_dataset, workspace, num_materials=40)
    return workspace


def ingest(write_dataset, workspace, num_materials):
    source = Prototypes(num_materials=num_materials, max_atoms=6)
    write_dataset(workspace, "data", IngestSettings(source=source))


@pytest.fixture
def new_plan(workspace):
    def new_plan(**changes):
        return make_plan("run", new_settings("dos", "text", **changes), workspace)

    return new_plan


def rows_of(plan, rates=RATES, **machines):
    number = plan.settings.training.num_workers
    return list(forecasts(plan, rates, Machines(number, number, **machines), Prices(2.0, 0.5)))


def test_every_number_of_workers_is_one_that_training_takes(new_plan):
    plan = new_plan(num_workers=5, num_micro_batches=2)
    assert [(row.machines.num_workers, row.share) for row in rows_of(plan)] == [
        (1, 12),
        (2, 6),
        (4, 3),
        (5, 3),
    ]


def test_cost_counts_threads_and_gpus(new_plan):
    plan = new_plan()
    [alone], [threads] = (rows_of(plan, cores_per_worker=number) for number in (1, 3))
    [gpu] = rows_of(plan, device="cuda")
    per_hour = {row: row.cost * 3600 / row.prediction.run_s for row in (alone, threads, gpu)}
    assert per_hour == pytest.approx({alone: 2 * 0.5, threads: 4 * 0.5, gpu: 2 * 0.5 + 2.0})


def test_rates_are_said_to_be_of_the_device_that_trained(new_plan):
    plan = new_plan()
    on_gpu = RATES.model_copy(update={"device": "cuda"})
    for rates, name in ((RATES, "some CPU"), (on_gpu, "some GPU")):
        assert f"on {name}: a core reads" in assumptions(rates, rows_of(plan, rates))[0]


def test_doubts_are_said(new_plan):
    plan = new_plan(num_workers=3)
    busy = RATES.model_copy(update={"load_average": 7.0})
    sure = RATES.model_copy(update={"largest_share": 3})
    on_a_busy_machine = assumptions(busy, rows_of(plan))[-2]
    assert "7 processes wanted the 2 cores" in on_a_busy_machine
    assert "--measure-again" in on_a_busy_machine
    # A share of 12 exceeds 4 x 2 but not 4 x 3; a share of 6 exceeds neither.
    assert "forecasts for 1 or fewer workers" in assumptions(RATES, rows_of(plan))[-1]
    assert not [line for line in assumptions(sure, rows_of(plan)) if "extrapolated" in line]


def test_rates_of_a_store_are_others_than_those_of_its_shards(new_plan, workspace):
    plan = new_plan(stream={"read_from": "store"})
    before = rates_file(plan, workspace)
    assert before == rates_file(new_plan(), workspace)  # the same work, only done earlier
    [row] = rows_of(plan)
    assert row.prediction.ahead_s == pytest.approx(plan.manifest.num_records * 0.01)
    assert "the feature store is not there yet" in " ".join(assumptions(RATES, [row]))
    plan.store.folder.mkdir(parents=True)
    card = {"dataset_fingerprint": "", "fingerprint": "", "num_records": 0, "quarantined": {}}
    StoreCard(**card).save(plan.store.folder)
    assert rates_file(plan, workspace) != before
    assert rows_of(plan)[0].prediction.ahead_s == 0


def test_rates_of_other_data_by_the_same_name_are_others(write_dataset, tmp_path):
    files = []
    for number in (40, 41):
        workspace = Workspace(UPath(tmp_path / str(number)))
        ingest(write_dataset, workspace, num_materials=number)
        plan = make_plan("run", new_settings("dos", "text"), workspace)
        files.append(rates_file(plan, workspace).name)
    assert len(set(files)) == 2


def test_a_run_says_what_it_expects_and_never_stops_for_it(new_plan, workspace):
    plan = new_plan(seed=1)
    path = rates_file(plan, workspace)
    assert "omnimat plan measures" in expectation(plan, workspace)
    RATES.save(path)
    assert "as measured 2026-11-20T00:00:00+00:00 on some CPU" in expectation(plan, workspace)
    path.write_text(RATES.model_dump_json(exclude={"largest_share"}))
    assert "holds no rates of this version of omnimat" in expectation(plan, workspace)
    path.unlink()


def test_views_and_heads_are_exchanged():
    assert num_embedding_bytes(new_settings("dos", "text")) == 4 * 8 * 2
    clac = new_settings("structure", "text", objective="clac", augmentation={})
    assert num_embedding_bytes(clac) == 4 * 8 * 2 * 2 * 2


@pytest.mark.parametrize(
    ("modalities", "objective", "others"),
    [
        (("structure", "text"), "clac", 1),
        (("structure", "dos", "text"), "tensor_clip", 2),
    ],
)
def test_objectives_are_timed_by_themselves(modalities, objective, others):
    augmentation = {} if objective == "clac" else None
    settings = new_settings(*modalities, objective=objective, augmentation=augmentation)
    assert num_others(settings.objective) == others
    # This is the difference of two times, which a busy machine may reverse, but not every time.
    measured_s = [comparison_s(settings) for _ in range(3)]
    # A comparison takes at least 2 x 8 multiplications in the forward pass, and no core does 1e13
    # per second; as much as 10 microseconds would be 10,000 multiplications.
    assert max(measured_s) > 1e-12
    assert min(measured_s) < 1e-5


def test_barlow_twins_compares_no_rows():
    assert comparison_s(new_settings("dos", "text", objective="barlow_twins")) == 0
