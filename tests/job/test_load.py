"""What is wrong with a job file is said in one sentence that names the file and the key."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.provenance import sha256_of
from omnimat.base.workspace import Workspace
from omnimat.cli.main import main
from omnimat.job.load import load, load_tree
from omnimat.shards.manifest import RECORDS_NAME, Manifest
from omnimat.sources.ingest import write_slice
from omnimat.sources.merge import merge
from omnimat.sources.settings import IngestSettings
from omnimat.sources.tables.source import Table
from omnimat.testing.ray_head import clean_environment

REPOSITORY = Path(__file__).parents[2]
SHIPPED = sorted((REPOSITORY / "jobs").rglob("*.yaml"))
PRESETS = [
    (path, name)
    for path in SHIPPED
    for name in (None, *yaml.safe_load(path.read_text()).get("presets", {}))
]
COMPUTES = {"torch", "ray", "deepspeed", "pymatgen", "scipy", "sklearn"}
"""Packages that whoever checks a file should not wait for."""


@pytest.fixture
def job(tiny_jobs):
    """The tiny pretraining job; edited by dotted keys, None removes."""

    def edit(**changes: object) -> Path:
        path = tiny_jobs / "jobs" / "pretrain.yaml"
        values = yaml.safe_load(path.read_text())
        for dotted, value in changes.items():
            *parents, last = dotted.split("__")
            keys = values
            for key in parents:
                keys = keys[key]
            keys[last] = value
            if value is None:
                del keys[last]
        path.write_text("#!/usr/bin/env -S omnimat run\n" + yaml.safe_dump(values))
        return path

    return edit


def refusal(path: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as caught:
        load_tree(path, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """A folder that holds, empty, every path below $OMNIMAT_DATA that a shipped job names."""
    folder = tmp_path_factory.mktemp("data")
    labels: dict[str, set[str]] = {}
    for path, preset in PRESETS:
        settings = load(path, [f"preset={preset or 'null'}"]).settings
        source = getattr(settings, "source", None)
        if told := getattr(settings, "labels", None):
            columns = {column.column or name for name, column in told.columns.items()}
            for one in told.paths:
                labels.setdefault(one, set()).update(columns, [told.id])
        location = Path(
            getattr(source, "path", "$OMNIMAT_DATA").replace("$OMNIMAT_DATA", str(folder))
        )
        location.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(source, Table):
            write_empty_table(location, [column for _, column in source.columns()])
        else:
            location.touch()
    for path, columns in labels.items():
        location = Path(path.replace("$OMNIMAT_DATA", str(folder)))
        location.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({column: pa.nulls(1) for column in columns}), location)
    return folder


def write_empty_table(path: Path, columns: list[str]) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.table({column: pa.nulls(0) for column in columns}), path)
    else:
        path.mkdir(exist_ok=True)
        (path / "train.csv").write_text(",".join(columns) + "\n")


@pytest.mark.parametrize(
    ("path", "preset"), PRESETS, ids=lambda part: getattr(part, "stem", str(part))
)
def test_shipped_job_is_right(path, preset, data, tmp_path, monkeypatch):
    monkeypatch.setenv("OMNIMAT_STORAGE", str(tmp_path))
    monkeypatch.setenv("OMNIMAT_DATA", str(data))
    monkeypatch.setenv("MP_API_KEY", "x" * 32)
    chosen = ["--set", f"preset={preset}"] if preset else []
    result = CliRunner().invoke(main, ["check", str(path), *chosen])
    assert (result.exit_code, result.stderr) == (0, "")


CHECK_ALL = """
import sys
from pathlib import Path
from omnimat.job.run import checked
from omnimat.job.schema import json_schema

for path, preset in zip(sys.argv[1::2], sys.argv[2::2]):
    jobs = checked(Path(path), [f"preset={preset}"])
    for place, job in enumerate(jobs):
        job.remarks(jobs[:place])
json_schema()
print(*sys.modules)
"""


def test_all_shipped_jobs_are_checked_without_what_computes(data, tmp_path):
    environment = os.environ | {
        "OMNIMAT_STORAGE": str(tmp_path),
        "OMNIMAT_DATA": str(data),
        "MP_API_KEY": "x" * 32,
    }
    files = [part for path, preset in PRESETS for part in (path, preset or "null")]
    done = subprocess.run(
        [sys.executable, "-c", CHECK_ALL, *files], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert not COMPUTES & set(done.stdout.split())


@pytest.mark.parametrize(
    "path", SHIPPED, ids=lambda path: str(path.relative_to(REPOSITORY / "jobs"))
)
def test_shipped_job_is_executable(path):
    assert path.read_text().startswith("#!/usr/bin/env -S omnimat run\n")
    assert path.stat().st_mode & 0o111 == 0o111


def test_no_two_shipped_jobs_write_to_one_place():
    jobs = [load(path, [f"preset={preset or 'null'}"]) for path, preset in PRESETS]
    written = [
        ("run" if job.kind in {"pretrain", "finetune", "evaluate"} else job.kind, job.name)
        for job in jobs
    ]
    assert len(set(written)) == len(written)


MISTAKES = [
    ({"trainig": {}}, "unknown key 'trainig'; did you mean 'training'?"),
    ({"training__lrr": 1}, "unknown key 'training.lrr'; did you mean 'lr'?"),
    ({"modalities__dos__encoder__num_block": 1}, "did you mean 'num_blocks'?"),
    ({"modalities__doss": {}}, "unknown key 'modalities.doss'; did you mean 'dos'?"),
    ({"training__lr": "fast"}, "training.lr: Input should be a valid number"),
    ({"training__num_epochs": 0}, "training.num_epochs: Input should be greater than"),
    ({"training__num_workers": 9}, "global_batch_size 8 is less than num_workers 9"),
    ({"kind": "pretrian"}, "'pretrain'"),
    ({"kind": None}, "kind"),
    ({"dataset": None}, "dataset: Field required"),
    ({"objective": {"type": "clap"}}, "objective.type: "),
    ({"objective": {}}, "objective.type: Field required"),
    (
        {"objective": {"type": "barlow_twins", "temperature": 1}},
        "unknown key 'objective.temperature'; known here: block_size, off_diagonal_weight, stand",
    ),
    (
        {"modalities__text__encoder": {"type": "text_transformer", "num_heads": 3}},
        "modalities.text.encoder: token_width must be a multiple of num_heads",
    ),
    ({"modalities__dos__encoder": {"num_heads": 0}}, "modalities.dos.encoder.num_heads: Input"),
    ({"modalities__xrd": {"encoder": {"kernel_size": 4}}}, "xrd.encoder: kernel_size must be odd"),
    (
        {"modalities__charge_density": {"encoder": {"cardinality": 3}}},
        "modalities.charge_density.encoder: width must be a multiple of cardinality",
    ),
    ({"objective": {"type": "anchored_clip", "anchor": "structure"}}, "structure"),
    ({"modalities": {}}, "name at least one of"),
    ({"modalities__text__featurizer": {"source": "guessed"}}, "modalities.text.featurizer.source"),
    ({"modalities__dos__encoder": {"preset": "huge"}}, "unknown preset 'huge'"),
    ({"modalities__dos__encoder": {"preset": ["tiny"]}}, "unknown preset ['tiny']"),
    ({"training": {"seed": -1}}, "training.seed: Input should be greater than or equal to 0"),
    ({"name": "../up"}, "name: "),
    ({"needs": ["jobs/nowhere.yaml"]}, "no file 'jobs/nowhere.yaml'"),
    ({"needs": ["jobs/pretrain.yaml"]}, "needs itself"),
]


@pytest.mark.parametrize(("changes", "expected"), MISTAKES, ids=lambda value: str(value)[:40])
def test_mistake_is_named(changes, expected, job):
    path = job(**changes)
    message = refusal(path)
    assert message.startswith(str(path))
    assert expected in message


def test_circle_through_another_file_is_named(job, tiny_jobs):
    path = job(needs=["jobs/other.yaml"])
    other = yaml.safe_dump({"kind": "pipeline", "name": "o", "jobs": ["jobs/pretrain.yaml"]})
    (tiny_jobs / "jobs" / "other.yaml").write_text(other)
    assert "pretrain.yaml -> other.yaml" in refusal(path)


# Nine lines that stand for 9^9 values.
BOMB = "a: &a [{}, {}, {}, {}, {}, {}, {}, {}, {}]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kind: [", "is no YAML"),
        ("kind: \x01", "is no YAML"),
        ("", "holds no keys"),
        ("- kind", "holds no keys"),
        ("1: 2", "kind"),
        ("a: !!python/object:os.system {}", "is no YAML"),
        ("kind: pretrain\nname:\n", "key 'name' in line 2 has no value; write one ({} where it"),
        ("needs: [{a: {b: }}]", "key 'needs.0.a.b' in line 1 has no value"),
        ("a: 1\nb: {a: 2}\na: 3", "key 'a' stands twice, in lines 1 and 3; remove one"),
        ("kind: pipeline\nname: &n {again: *n}", "key 'name.again' in line 2 refers to itself"),
        ("kind: evaluate\nkind: pretrain", "key 'kind' stands twice, in lines 1 and 2"),
        ('{"kind": "pretrain",\n"kind": "evaluate"}', "key 'kind' stands twice, in lines 1 and 2"),
        ("a: {b: 1e999}", "key 'a.b' in line 1 is 1e999, which is no finite number"),
        ("a:\n- -1.5E+999", "key 'a.0' in line 2 is -1.5E+999, which"),
        ("a: .nan", "key 'a' in line 1 is .nan, which"),
        ("a: -.inf", "key 'a' in line 1 is -.inf, which"),
        ("a: 2024-02-30", "key 'a' in line 1 cannot be read: day is out of range"),
        ("a: " + "9" * 5_000, "key 'a' in line 1 cannot be read"),
        ("a: !!timestamp soon", "key 'a' in line 1 cannot be read"),
        ('name: "a\\e[2J"', "key 'name' in line 1 holds the hidden character U+001B"),
        ('name: "a\\u202eb"', "hidden character U+202E RIGHT-TO-LEFT OVERRIDE"),
        ("a\u200b: 1", r"key 'a\u200b' in line 1 holds the hidden character U+200B"),
        ('name: "\\ud800"', "hidden character U+D800"),
        ("[" * 5_000, "nested too deeply"),
        ("kind: " * 50_000, "has over 262144 characters"),
        (BOMB, "in line 6 stands for over 100000 values"),
        (BOMB.replace("[", "{<<: [").replace("]", "]}"), "stands for over 100000 values"),
    ],
)
def test_not_a_job_file(text, expected, tmp_path):
    path = tmp_path / "job.yaml"
    path.write_text(text)
    message = refusal(path)
    assert message.startswith(str(path))
    assert expected in message


@pytest.mark.parametrize(
    ("before", "after", "key"),
    [
        ("text: {featurizer: {source: hashed}, encoder: {preset: tiny}}", "text:", "text"),
        ("{featurizer: {source: hashed}, ", "{featurizer: , ", "text.featurizer"),
        ("dos: {encoder: {preset: tiny}}", "dos: {encoder: }", "dos.encoder"),
    ],
)
def test_a_forgotten_value_is_not_a_modality_left_out(tiny_jobs, before, after, key):
    path = tiny_jobs / "jobs" / "pretrain.yaml"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    line = 8 if key.startswith("text") else 7
    assert refusal(path).startswith(f"{path}: key 'modalities.{key}' in line {line} has no value")


def test_null_is_a_value(tiny_jobs):
    path = tiny_jobs / "jobs" / "pretrain.yaml"
    path.write_text(path.read_text() + "preset: null\nstorage_path: ~\n")
    assert load(path, ["modalities.structure=null"]).settings.modalities.names == ("dos", "text")


def test_unreadable_paths(tmp_path):
    assert "does not exist" in refusal(tmp_path / "none.yaml")
    assert "is a folder" in refusal(tmp_path)


def test_overrides_replace_keys_of_the_named_file_alone(job):
    overrides = ["name=other", "training.lr=3e-4", "stream.num_featurizers=2"]
    data, pretrain = load_tree(job(), overrides)
    assert (data.name, pretrain.name) == ("tiny-data", "other")
    assert pretrain.settings.training.lr == 3e-4
    assert pretrain.settings.training.global_batch_size == 8
    assert pretrain.settings.stream.num_featurizers == 2


def test_storage_path_override_reaches_what_the_job_needs(job):
    data, pretrain = load_tree(job(), ["storage_path=/elsewhere"])
    assert data.header.storage_path == pretrain.header.storage_path == "/elsewhere"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("training.lr", "write it as key.key=value"),
        ("name.first=x", "'name' holds a value, not keys"),
        ("training.lr=[", "--set training.lr=[ is no YAML"),
        ("training.lr=", "--set training.lr=: the value is missing; write null for none"),
        ("modalities.text={encoder: }", "key 'encoder' in line 1 has no value"),
        ("training.lrr=1", "did you mean 'lr'?"),
        ("training.lr=1e999", "--set training.lr=1e999: the value in line 1 is 1e999, which is no"),
        ('training.lr="1e999"', "training.lr: Input should be a finite number"),
        ("training.lr=nan", "training.lr: Input should be a finite number"),
        ("training.lr=infinity", "training.lr: Input should be a finite number"),
        ("training={lr: .inf}", "key 'lr' in line 1 is .inf, which is no finite number"),
        ("training={lr: 1, lr: 2}", "key 'lr' stands twice"),
        (f"training={BOMB}", "stands for over 100000 values"),
        ('name="a\\u2028b"', "hidden character U+2028 LINE SEPARATOR"),
    ],
)
def test_bad_override_is_named(override, expected, job):
    assert expected in refusal(job(), override)


def test_command_line_says_one_sentence_and_exits_with_2(job):
    path = job(training__lrr=1)
    command = [str(path.parent / "pretrain.yaml"), "--set", "name=x"]
    result = subprocess.run(
        command, env=clean_environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr == (f"omnimat: {path}: unknown key 'training.lrr'; did you mean 'lr'?\n")


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    """The tiny data set, ingested without Ray."""
    folder = tmp_path_factory.mktemp("storage")
    settings = IngestSettings(
        source={"type": "prototypes", "num_materials": 40, "max_atoms": 8}, records_per_shard=20
    )
    dataset = Workspace(UPath(folder)).dataset("tiny-data")
    merge(
        name="tiny-data",
        source=settings.source.model_dump(mode="json"),
        settings_fingerprint=settings.fingerprint(),
        reports=[write_slice(settings, dataset, shard, ()) for shard in range(2)],
        destination=dataset,
    )
    return folder


def statically(path: Path, storage: Path, *overrides: str) -> None:
    load(path, [f"storage_path={storage}", *overrides]).check()


def test_data_set_is_asked_before_ray_starts(job, storage):
    path = job()
    statically(path, storage)
    with pytest.raises(UserError, match=r"training.global_batch_size is 64, .* training rec"):
        statically(path, storage, "training.global_batch_size=64")


def test_modality_that_no_record_has_is_refused_before_ray_starts(job, storage, tmp_path):
    shutil.copytree(storage, tmp_path / "textless")
    dataset = Workspace(UPath(tmp_path / "textless")).dataset("tiny-data")
    manifest = Manifest.load(dataset)
    manifest.records(dataset).assign(has_text=False).to_parquet(dataset / RECORDS_NAME)
    sha256 = sha256_of(dataset / RECORDS_NAME)
    manifest.model_copy(update={"records_sha256": sha256}).save(dataset)
    with pytest.raises(UserError, match=r"modalities\.text: no training record of data set"):
        statically(job(), tmp_path / "textless")


def test_aliases_that_do_not_multiply_are_welcome(job):
    path = job()
    path.write_text(path.read_text() + "presets: {a: &a {training: {lr: 1}}, b: {<<: *a}}\n")
    assert load(path, ["preset=b"]).settings.training.lr == 1


def test_what_cannot_be_read_as_a_job_file_is_named(tmp_path):
    (tmp_path / "loop.yaml").symlink_to("loop.yaml")
    (tmp_path / "binary.yaml").write_bytes(bytes(range(256)) * 100)
    for path in ("loop.yaml", "binary.yaml", "n" * 300, "binary.yaml/job.yaml"):
        assert refusal(tmp_path / path).startswith(str(tmp_path / path))
    assert "has over 262144 characters" in refusal(Path("/dev/zero"))
