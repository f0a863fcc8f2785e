"""What `omnimat check` says about folds, before anything has run."""

import json

import pytest
import yaml
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.workspace import Workspace
from omnimat.cli.main import main
from omnimat.job.run import checked
from omnimat.sources.prototypes import Prototypes
from omnimat.sources.settings import IngestSettings

SOURCE = {"type": "prototypes", "num_materials": 24, "max_atoms": 4}
COLUMNS = {"fold": {}, "single": {}, "rare": {}}


@pytest.fixture
def check(tmp_path):
    """Write the labels of an ingest job; return how to check a fine-tuning job on its data."""
    names = [record.material_id for record in Prototypes(**SOURCE).read(0, 24)]
    lines = [f"{name},{i % 3},0,{i if i % 3 == 1 else ''}" for i, name in enumerate(names)]
    (tmp_path / "labels.csv").write_text("\n".join(["material_id,fold,single,rare", *lines]))

    def check(*needs, target="density_g_per_cm3", **folds):
        values = {"kind": "finetune", "name": "tune", "dataset": "mine", "run": "pre"}
        values |= {"tasks": [{"name": "density", "target": target}], "needs": list(needs)}
        values["folds"] = {"property": "fold", "test": [0, 1, 2], "validation_fraction": 0.4}
        values["folds"] |= folds
        (tmp_path / "tune.yaml").write_text(yaml.safe_dump(values))
        return checked(tmp_path / "tune.yaml", [f"storage_path={tmp_path / 'storage'}"])

    check.folder = tmp_path
    return check


@pytest.fixture
def ingest(check):
    return {
        "source": SOURCE,
        "labels": {"path": str(check.folder / "labels.csv"), "columns": COLUMNS},
    }


@pytest.fixture
def ingested(check, ingest, write_dataset):
    """Ingest all into training, so that the data set's own split cannot be used for any task."""
    split = {"train": 1.0, "validation": 0.0, "test": 0.0}
    settings = IngestSettings.model_validate(ingest | {"split": split})
    write_dataset(Workspace(UPath(check.folder / "storage")), "mine", settings.located())


def refusal(check, *arguments, **values):
    with pytest.raises(UserError) as error:
        check(*arguments, **values)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_folds_need_no_split_of_the_data_set(check, ingested):
    assert [job.name for job in check()] == ["tune"]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"property": "fol"}, ("folds.property", "'fol'", "mine", "did you mean 'fold'")),
        ({"test": [0, 7]}, ("folds.test.1", "'7'", "mine", "known here: 0, 1, 2")),
        ({"property": "single", "test": [0]}, ("folds.test.0", "no train record", "more folds")),
        ({"target": "densty"}, ("tasks.0.target", "'densty'")),
        ({"target": "rare"}, ("folds.test.0", "no test record", "'rare'")),
        ({"target": "rare", "test": [1]}, ("folds.test.0", "no ", "'rare'", "folds")),
        ({"tset": [0]}, ("'folds.tset'", "did you mean 'test'")),
        ({"test": []}, ("folds.test",)),
    ],
)
def test_folds_that_the_data_set_has_not_are_refused(check, ingested, values, told):
    sentence = refusal(check, **values)
    for part in told:
        assert part in sentence


def test_a_property_that_no_record_will_have_is_told_before_the_ingest(check, ingest):
    data = {"kind": "ingest", "name": "mine"} | ingest
    (check.folder / "data.yaml").write_text(yaml.safe_dump(data))
    assert [job.name for job in check("data.yaml")] == ["mine", "tune"]
    sentence = refusal(check, "data.yaml", property="fol")
    for part in ("folds.property", "'fol'", "did you mean 'fold'"):
        assert part in sentence
    assert not (check.folder / "storage").exists()


def test_the_schema_takes_numbers_and_names_and_folds_made_of_formulas(capsys):
    main(["schema"], standalone_mode=False)
    folds = json.loads(capsys.readouterr().out)["$defs"]["FoldSettings"]
    for kind in ("integer", "string"):
        assert f'"{kind}"' in json.dumps(folds["properties"]["test"])
    assert not folds.get("required")  # of_formulas is enough
