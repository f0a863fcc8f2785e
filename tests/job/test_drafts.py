"""Drafted job files: what they are made of, and that they say what they should."""

import csv
import json
from dataclasses import replace

import pytest
import yaml

from omnimat.base.errors import UserError
from omnimat.base.workspace import Workspace
from omnimat.finetune.settings import FinetuneSettings
from omnimat.finetune.trial_settings import OptimizationSettings
from omnimat.job.drafts.files import first_jobs
from omnimat.job.drafts.finetune import Start, Target, chosen_target, finetune_draft, task_name
from omnimat.job.drafts.holdings import Holdings, holdings, kinds_of
from omnimat.job.drafts.ingest import ingest_draft, sample, settings_of, split_draft, told_sample
from omnimat.job.drafts.kept import keep, known_ingest, units_in
from omnimat.job.drafts.look import Look, default_name, look_at, look_at_labels, split_values
from omnimat.job.drafts.pretrain import Views, chosen_views, pretrain_draft
from omnimat.job.drafts.sizes import finetune_sizes, pretrain_sizes
from omnimat.job.drafts.text import check_free, scalar, write_job_file
from omnimat.job.drafts.tuning import compared
from omnimat.job.load import load
from omnimat.materials.crystals import to_pymatgen
from omnimat.materials.record import Record
from omnimat.materials.split import SplitSettings, TableSplit
from omnimat.sources.prototypes import Prototypes
from omnimat.sources.settings import IngestSettings
from omnimat.sources.tables.told import Labelled, best_id_column, told_columns, told_labels
from omnimat.training.settings import PretrainSettings, TrainingSettings

CIF = "data_x\n_cell_length_a 4.2\nloop_\n"
POSCAR = "Si\n1.0\n3 0 0\n0 3 0\n0 0 3\nSi\n1\nDirect\n0 0 0\n"
DOCUMENT = {"lattice": {"matrix": []}, "sites": []}
BY_SPLIT = {"train": 80, "validation": 10, "test": 10}
SCALARS = (
    "plain",
    "a b",
    "yes",
    "null",
    "1.5",
    "007",
    "2020-01-01",
    "a: b",
    "x # y",
    "- x",
    "~",
    "*x",
)
SCALARS += ('say "a"', "[a]", "{a: b}", "größe", "C:\\x", "a,b", "", "data/**/*.cif", "/tmp/a.b-c")
NONE = {"train": 0, "validation": 0, "test": 0}


@pytest.fixture
def crystals(tmp_path, monkeypatch):
    """A folder of CIFs, a file that nobody reads, and labels beside it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "crystals").mkdir()
    records = list(Prototypes(num_materials=6, max_atoms=4).read(0, 6))
    for record in records:
        path = tmp_path / "crystals" / f"{record.material_id}.cif"
        to_pymatgen(record.structure).to(str(path), fmt="cif")
    (tmp_path / "crystals" / "paper.docx").write_bytes(b"PK")
    write_csv(
        tmp_path / "labels.csv",
        ["file", "Hardness (GPa)", "phase", "remark", "fold"],
        [
            [f"{r.material_id}.cif", 1.5 * i, "ab"[i % 2], f"remark {i}", "train"]
            for i, r in enumerate(records)
        ],
    )
    return records


def write_csv(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def held(**changes):
    """Holdings of a hundred crystals with one label."""
    known = Holdings(
        name="mine",
        records=BY_SPLIT,
        views=dict.fromkeys(["structure", "xrd", "composition"], BY_SPLIT),
        given={"structure": BY_SPLIT},
        properties={"gap_ev": BY_SPLIT, "crystal_system": BY_SPLIT},
        kinds={"gap_ev": "number", "crystal_system": "class"},
        num_atoms=12,
    )
    return replace(known, **changes)


def loaded(tmp_path, text):
    path = tmp_path / "drafted.yaml"
    path.write_text(text)
    return load(path)


def drafted(tmp_path, known, target=None):
    """Load the pretrain job and the fine-tuning job that are drafted for holdings."""
    views = chosen_views(known)
    target = chosen_target(known, target)
    label = (target, known.kinds[target]) if views.is_alone else None
    pretrain = loaded(tmp_path, pretrain_draft(known, views, ["ingest.yaml"], label))
    start = Start.of_views(known.name, views)
    tuning = compared(known.properties[target]["train"], is_pretrained=start.is_pretrained)
    what = Target(target, known.units.get(target, ""))
    finetune = loaded(tmp_path, finetune_draft(known, start, what, tuning, ["pretrain.yaml"]))
    assert isinstance(pretrain.settings, PretrainSettings)
    assert isinstance(finetune.settings, FinetuneSettings)
    assert finetune.settings.run == pretrain.name
    assert set(finetune.settings.modalities) <= set(pretrain.settings.modalities.names)
    return pretrain, finetune


@pytest.mark.parametrize(
    "value",
    SCALARS,
)
def test_a_scalar_is_read_as_it_was_written(value):
    assert yaml.safe_load(f"{{key: {scalar(value)}, other: 1}}") == {"key": value, "other": 1}
    assert yaml.safe_load(f"key: {scalar(value)}  # comment") == {"key": value}


def test_a_file_of_other_content_is_never_overwritten(tmp_path):
    path = tmp_path / "new" / "job.yaml"
    check_free(path, "kind: x\n", "take another")
    write_job_file(path, "kind: x\n")
    assert path.stat().st_mode & 0o100
    check_free(path, "kind: x\n", "take another")
    with pytest.raises(UserError, match=r"job\.yaml.*take another"):
        check_free(path, "kind: y\n", "take another")
    assert path.read_text() == "kind: x\n"


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ([CIF] * 3, "cif"),
        ([DOCUMENT] * 3, "pymatgen"),
        ([json.dumps(DOCUMENT), None, json.dumps(DOCUMENT)], "pymatgen"),
        ([POSCAR] * 3, "poscar"),
    ],
    ids=["cif", "document", "document as text", "poscar"],
)
def test_structures_are_known_by_their_values(values, key):
    columns = told_columns({"mp": ["a", "b", "c"], "what": values})
    assert columns.structure == (key, "what")
    assert columns.id == "mp"
    assert columns.holds_materials
    with_formula = told_columns({"formula": ["NaCl", "KCl", "KBr"], "what": values})
    assert with_formula.formula is None
    assert with_formula.structure == (key, "what")


def test_columns_of_a_table():
    columns = told_columns(
        {
            "n": [1, 2, 3, 4],
            "sample": ["s1", "s2", "s3", "s4"],
            "formula": ["NaCl", "Li0.5CoO2", "(NH4)2SO4", "Fe2 O3"],
            "words": ["a grey powder that smells of nothing"] * 4,
            "two_theta": [[1.0, 2.0]] * 4,
            "intensity_counts": [[5.0, 6.0]] * 4,
            "gap": [1.0, None, 2.5, "?"],
            "phase": ["a", "b", "a", "b"],
            "always": ["x"] * 4,
            "empty": [None, "", None, None],
        }
    )
    assert (columns.id, columns.formula, columns.text) == ("sample", "formula", "words")
    assert (columns.two_theta_degree, columns.intensity) == ("two_theta", "intensity_counts")
    kinds = {one.name: (one.kind, one.num_known) for one in columns.labels}
    assert kinds == {"n": ("number", 4), "gap": ("number", 2), "phase": ("class", 4)}


def test_a_table_without_materials_says_so():
    columns = told_columns({"id": ["a", "b"], "gap": [1, 2], "formula": ["not one", "nor this"]})
    assert not columns.holds_materials
    assert told_columns({"two_theta": [[1.0]], "gap": [1]}).two_theta_degree is None


def test_the_user_names_the_ids():
    cells = {"id": ["a", "b"], "other": ["c", "d"], "formula": ["NaCl", "KCl"]}
    assert told_columns(cells).id == "id"
    assert told_columns(cells, "other").id == "other"


def test_ids_that_repeat_are_none():
    assert told_columns({"id": ["a", "a"], "formula": ["NaCl", "KCl"]}).id is None


@pytest.mark.parametrize(
    ("column", "name", "unit"),
    [
        ("Band gap (eV)", "band_gap_ev", "eV"),
        ("E_form [eV/atom]", "e_form_ev_per_atom", "eV/atom"),
        ("gap_ev", "gap_ev", ""),
        ("odd name", "odd_name", ""),
        ("R (Ω)", "R_", ""),
    ],
)
def test_a_unit_in_brackets_ends_the_name(column, name, unit):
    (label,) = told_labels({column: [1.0, 2.0]}, 2)
    assert label == Labelled(column, "number", 2, name, unit)


def test_the_column_that_names_most_materials_is_found():
    cells = {"a": ["x", "y", "z"], "b": ["m 1.cif", "m-2", None], "c": [1, 2, 3]}
    assert best_id_column(cells, frozenset({"m_1_cif", "m-2", "x"})) == ("b", 2)
    assert best_id_column(cells, frozenset({"3"})) == ("c", 1)
    assert best_id_column(cells, frozenset({"q"})) is None


def test_a_folder_is_looked_at(crystals):
    look = look_at("crystals")
    assert look.num_items == len(crystals)
    assert look.found == ("6 CIF",)
    assert any("paper.docx" in line for line in look.not_read)
    labels = look_at_labels("labels.csv", look, None, "fold")
    assert (labels.id, labels.num_matching, labels.num_rows) == ("file", 6, 6)
    assert [one.name for one in labels.labels] == ["hardness_gpa", "phase"]
    assert labels.left_out == ("remark",)


def test_the_draft_of_a_folder_says_what_was_found(crystals):
    look = look_at("crystals")
    labels = look_at_labels("labels.csv", look, None, "fold")
    split = split_draft("fold", split_values("labels.csv", "fold"), is_in_labels=True)
    text = ingest_draft("mine", look, labels, split, "nearest_ordered")
    settings = settings_of(text)
    assert settings.source.path == "crystals"
    assert settings.source.reading.disorder == "nearest_ordered"
    assert isinstance(settings.split, TableSplit)
    assert settings.split.table.column == "fold"
    assert settings.labels is not None
    assert set(settings.labels.columns) == {"hardness_gpa", "phase"}
    assert units_in(text) == {"hardness_gpa": "GPa"}
    items = sample(settings)
    assert sum(isinstance(one, Record) for one in items) == len(crystals)
    (told,) = told_sample(items)
    assert "structure (6)" in told
    assert "composition and xrd" in told


def test_the_draft_of_a_table_says_what_was_found(crystals, tmp_path):
    rows = [
        [r.material_id, (tmp_path / "crystals" / f"{r.material_id}.cif").read_text(), i, "val"]
        for i, r in enumerate(crystals)
    ]
    write_csv(tmp_path / "all.csv", ["name", "cif text", "gap", "set"], rows)
    look = look_at("all.csv")
    assert look.names == {r.material_id for r in crystals}
    split = split_draft("set", split_values("all.csv", "set"), is_in_labels=False)
    settings = settings_of(ingest_draft("mine", look, None, split))
    assert settings.source.structure.cif == "cif text"
    assert settings.source.id == "name"
    assert set(settings.source.properties) == {"gap"}
    assert settings.source.split.values["val"] == "validation"
    assert all(isinstance(one, Record) for one in sample(settings))


def test_few_materials_leave_more_for_validation():
    few, many = (
        settings_of(ingest_draft("x", Look("p", number, ("CIF",)))).split for number in (30, 3000)
    )
    assert few.test > many.test == SplitSettings().test


def test_what_cannot_be_used_is_refused_in_a_sentence(crystals, tmp_path):
    look = look_at("crystals")
    write_csv(tmp_path / "far.csv", ["id", "gap"], [["nobody", 1.0]])
    with pytest.raises(UserError, match=r"far\.csv.*crystals") as info:
        look_at_labels("far.csv", look, None, None)
    assert crystals[0].material_id in str(info.value) or "such as" in str(info.value)
    for id_column, split_column, option in (("fil", None, "--id"), (None, "flod", "--split")):
        with pytest.raises(UserError, match=option) as info:
            look_at_labels("labels.csv", look, id_column, split_column)
        assert "did you mean" in str(info.value)
    with pytest.raises(UserError, match=r"--split.*'later'"):
        split_draft("fold", ["train", "later"], is_in_labels=True)
    with pytest.raises(UserError, match="nowhere does not exist"):
        look_at("nowhere")
    with pytest.raises(UserError, match=r"far\.csv.*--labels"):
        look_at("far.csv")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("crystals", "crystals"),
        ("./crystals/", "crystals"),
        ("crystals/*.cif", "crystals"),
        ("crystals/**/CONTCAR", "crystals"),
        ("labels.csv", "labels"),
        ("my data.csv.gz", "my_data"),
        ("--odd.cif", "odd"),
    ],
)
def test_a_data_set_is_named_after_its_path(crystals, path, name):
    assert default_name(path) == name


@pytest.mark.parametrize("num_train", [4, 5, 17, 60, 320, 5_000, 30_000, 1_000_000])
def test_sizes_suit_any_number_of_records(num_train):
    pretrain, finetune = pretrain_sizes(num_train), finetune_sizes(num_train)
    assert 2 <= pretrain.batch_size <= num_train
    assert num_train // pretrain.batch_size >= 2
    TrainingSettings(
        num_epochs=pretrain.num_epochs, global_batch_size=pretrain.batch_size, num_workers=2
    )
    OptimizationSettings(num_epochs=finetune.num_epochs, batch_size=finetune.batch_size)
    assert pretrain.num_epochs * num_train <= max(10_000, 10 * num_train)


def test_numbers_and_classes_are_told_apart():
    known = [{"a": 1, "b": "x", "c": [1.0], "d": True}, {"a": 2.5, "b": None}]
    assert kinds_of(known) == {"a": "number", "b": "class", "d": "class"}


def test_crystals_have_three_views(tmp_path):
    pretrain, finetune = drafted(tmp_path, held())
    assert pretrain.needs == ("ingest.yaml",)
    assert pretrain.settings.modalities.names == ("structure", "xrd", "composition")
    assert pretrain.settings.objective.type == "all_pairs_clip"
    assert finetune.needs == ("pretrain.yaml",)
    settings = finetune.settings
    assert settings.modalities == ("structure",)
    assert set(settings.variants) == {"from_scratch", "finetuned"}
    assert (len(settings.learning_rates), len(settings.seeds)) == (3, 2)
    (task,) = settings.tasks
    assert (task.target, task.kind, task.metric) == ("gap_ev", "regression", "mae")


def test_many_views_are_anchored_and_rare_ones_left_out(tmp_path):
    views = dict.fromkeys(["structure", "dos", "xrd", "composition"], BY_SPLIT)
    known = held(views={**views, "text": {"train": 7, "validation": 1, "test": 1}})
    pretrain, _ = drafted(tmp_path, known)
    assert pretrain.settings.objective.type == "anchored_clip"
    assert "text" not in pretrain.settings.modalities.names


def test_large_cells_have_graphs_of_few_edges(tmp_path):
    for num_atoms, encoder in ((12, "potnet"), (300, "cgcnn")):
        pretrain, _ = drafted(tmp_path, held(num_atoms=num_atoms))
        assert pretrain.settings.modalities.structure.encoder.type == encoder


def test_texts_are_hashed_unless_there_are_embeddings(tmp_path):
    views = {"text": BY_SPLIT, "composition": BY_SPLIT}
    for part, source in (("text", "hashed"), ("text_embedding", "stored")):
        pretrain, finetune = drafted(tmp_path, held(views=views, given={part: BY_SPLIT}))
        assert pretrain.settings.modalities.text.featurizer.source == source
        assert finetune.settings.modalities == ("text", "composition")
        assert pretrain.settings.objective.type == "clip"


@pytest.mark.parametrize("target", ["gap_ev", "crystal_system"])
def test_one_modality_is_trained_from_scratch_alone(tmp_path, target):
    known = held(views={"composition": BY_SPLIT})
    pretrain, finetune = drafted(tmp_path, known, target)
    assert finetune.settings.variants == ("from_scratch",)
    assert finetune.settings.modalities == ("composition",)
    assert pretrain.settings.training.num_epochs == 1


def test_the_target_is_what_most_records_know():
    fewer = {**BY_SPLIT, "train": 20}
    known = held(
        properties={"a": fewer, "b": BY_SPLIT, "crystal_system": {**BY_SPLIT, "train": 99}},
        kinds={"a": "number", "b": "class", "crystal_system": "class"},
    )
    assert chosen_target(known) == "b"
    assert chosen_target(known, "a") == "a"
    lacking = replace(known, properties={**known.properties, "b": {**BY_SPLIT, "test": 0}})
    assert chosen_target(lacking) == "a"
    with pytest.raises(UserError, match="no test record knows 'b'"):
        chosen_target(lacking, "b")
    with pytest.raises(UserError, match="did you mean 'crystal_system'"):
        chosen_target(known, "crystal_sytem")
    with pytest.raises(UserError, match="--labels"):
        chosen_target(replace(known, properties={}, kinds={}))


def test_classes_are_scored_by_accuracy(tmp_path):
    _, finetune = drafted(tmp_path, held(), "crystal_system")
    (task,) = finetune.settings.tasks
    assert (task.kind, task.metric) == ("classification", "accuracy")


def test_odd_names_of_labels_are_no_trouble(tmp_path):
    for target in ("E (a: b) #1", "größe", "%", "yes", "two\nlines", "a\ttab"):
        known = held(properties={target: BY_SPLIT}, kinds={target: "number"})
        _, finetune = drafted(tmp_path, known)
        assert finetune.settings.tasks[0].target == target


def test_a_unit_leaves_the_name_of_the_task(tmp_path):
    assert task_name("band_gap_ev", "eV") == "band gap"
    assert task_name("band_gap_ev", "") == "band gap ev"
    _, finetune = drafted(tmp_path, held(units={"gap_ev": "eV"}))
    assert finetune.settings.tasks[0].unit == "eV"


def test_too_little_is_refused():
    with pytest.raises(UserError, match="mine has 3 training records"):
        chosen_views(held(records={**BY_SPLIT, "train": 3}))
    with pytest.raises(UserError, match="text 2"):
        chosen_views(held(views={"text": {**NONE, "train": 2}}))
    assert chosen_views(held()) == Views(("structure", "xrd", "composition"), is_alone=False)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, write_dataset):
    """A workspace with an ingested data set of prototypes."""
    workspace = Workspace.open(str(tmp_path_factory.mktemp("drafts")))
    source = Prototypes(num_materials=60, max_atoms=4)
    settings = IngestSettings(source=source, records_per_shard=30)
    write_dataset(workspace, "protos", settings)
    return workspace


def test_holdings_are_counted(workspace):
    known = holdings(workspace, "protos")
    assert sum(known.records.values()) == sum(known.views["structure"].values())
    assert known.is_derived("xrd")
    assert not known.is_derived("dos")
    assert known.kinds["density_g_per_cm3"] == "number"
    assert known.kinds["crystal_system"] == "class"
    assert known.properties["density_g_per_cm3"] == known.records
    assert 0 < known.num_atoms <= 4


def test_a_data_set_that_is_not_there_is_named_with_those_that_are(workspace, tmp_path):
    with pytest.raises(UserError, match="did you mean 'protos'"):
        holdings(workspace, "proto")
    with pytest.raises(UserError, match="omnimat ingest"):
        holdings(Workspace.open(str(tmp_path)), "proto")


def test_the_job_that_made_a_data_set_is_known_while_it_is_the_one(workspace, tmp_path):
    text = (
        "kind: ingest\nname: protos\n"
        "source: {type: prototypes, num_materials: 60, max_atoms: 4}  # mine\n"
        "records_per_shard: 30\n"
    )
    job = tmp_path / "mine.yaml"
    assert known_ingest(workspace, "protos") is None
    assert "ingest.yaml" not in first_jobs(workspace, "protos")
    job.write_text(text.replace("60", "61"))
    keep(job, workspace, "protos")
    assert known_ingest(workspace, "protos") is None
    job.write_text(text)
    keep(job, workspace, "protos")
    assert first_jobs(workspace, "protos")["ingest.yaml"] == text


def test_files_of_a_data_set_pass_the_check(workspace, tmp_path):
    from omnimat.job.run import checked

    files = first_jobs(workspace, "protos")
    for name, text in files.items():
        lines = [text, f"storage_path: {workspace.root}\n"]
        (tmp_path / name).write_text("".join(lines))
    for name in files:
        assert checked(tmp_path / name)
