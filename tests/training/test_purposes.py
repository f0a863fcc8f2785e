"""What a modality of a run may be for, as `omnimat check` says it."""

import pytest
import yaml
from click.testing import CliRunner
from pydantic import ValidationError

from omnimat.cli.main import main
from omnimat.training.settings import PretrainSettings

STRUCTURE = {"encoder": {"preset": "tiny"}}
PROPERTIES = {"featurizer": {"numbers": ["density_g_per_cm3"]}, "encoder": None}
REGRESSION = {"from": "structure", "to": "properties"}


def keys(**changes):
    return {
        "dataset": "prototypes",
        "modalities": {"structure": STRUCTURE, "properties": PROPERTIES},
        "objective": {"type": "none"},
        "regression": [REGRESSION],
    } | changes


def test_a_modality_without_an_encoder_is_read_and_not_embedded():
    settings = PretrainSettings.model_validate(keys())
    assert list(settings.modalities.featurizers()) == ["structure", "properties"]
    assert list(settings.modalities.encoders()) == ["structure"]
    read_back = PretrainSettings.model_validate(settings.model_dump(mode="json"))
    assert (read_back, read_back.fingerprint()) == (settings, settings.fingerprint())


def test_a_modality_may_be_contrasted_and_predicted():
    contrasted = {"structure": STRUCTURE, "properties": PROPERTIES | {"encoder": {}}}
    both = keys(modalities=contrasted, objective={"type": "clip"})
    assert list(PretrainSettings.model_validate(both).modalities.encoders()) == list(contrasted)


def test_what_is_only_predicted_needs_no_random_views():
    views = {
        "structure": STRUCTURE | {"augmentation": {}},
        "text": {"featurizer": {"source": "hashed"}, "augmentation": {}},
        "properties": PROPERTIES,
    }
    two_views = keys(modalities=views, objective={"type": "clac"}, stream={"read_from": "shards"})
    assert PretrainSettings.model_validate(two_views).objective.num_views == 2


def test_without_regression_a_run_is_what_it_was():
    pair = {"structure": STRUCTURE, "text": {}}
    plain = {"dataset": "prototypes", "modalities": pair, "objective": {"type": "clip"}}
    settings = PretrainSettings.model_validate(plain)
    assert settings == PretrainSettings.model_validate(plain | {"regression": []})
    assert "regression" not in settings.model_dump(exclude_defaults=True)


REFUSED = [
    ({"regression": [REGRESSION | {"to": "structure"}]}, r"regression\.0\.to: .* from itself"),
    ({"regression": [REGRESSION | {"to": "xrd"}]}, r"regression\.0\.to: xrd .* not among"),
    ({"regression": [REGRESSION | {"from": "xrd"}]}, r"regression\.0\.from: xrd .* not among"),
    (
        {"regression": [{"from": "properties", "to": "structure"}]},
        r"regression\.0\.from: properties has no encoder",
    ),
    ({"regression": [REGRESSION, REGRESSION]}, r"regression\.1: structure->properties .* twice"),
    ({"regression": []}, r"modalities\.structure: nothing trains its encoder"),
    (
        {"modalities": {"structure": STRUCTURE, "text": {}, "properties": PROPERTIES}},
        r"modalities\.text: nothing trains its encoder",
    ),
    (
        {
            "modalities": {"structure": STRUCTURE, "text": {}, "properties": PROPERTIES},
            "objective": {"type": "clip"},
            "regression": [],
        },
        r"modalities\.properties\.encoder is null and no regression",
    ),
    (
        {
            "modalities": {"structure": STRUCTURE, "text": {}},
            "regression": [{"from": "text", "to": "structure"}],
        },
        "structure cannot be predicted",
    ),
    ({"objective": {"type": "clip"}}, "aligns 2 modalities, not 1"),
    ({"regression": [REGRESSION | {"weight": 0}]}, "greater than 0"),
]


@pytest.mark.parametrize(("changes", "sentence"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_cannot_be_is_refused(changes, sentence):
    with pytest.raises(ValidationError, match=sentence):
        PretrainSettings.model_validate(keys(**changes))


def test_a_job_file_is_refused_in_one_sentence(tmp_path):
    path = tmp_path / "pretrain.yaml"
    job = keys(regression=[REGRESSION | {"to": "structure"}]) | {"kind": "pretrain", "name": "any"}
    path.write_text(yaml.safe_dump(job | {"storage_path": str(tmp_path)}))
    told = CliRunner().invoke(main, ["check", str(path)])
    assert told.exit_code == 2
    assert told.output.splitlines() == [
        f"omnimat: {path}: regression.0.to: structure would be predicted from itself; "
        "name another modality"
    ]
    job["regression"] = [REGRESSION | {"wieght": 2}]
    path.write_text(yaml.safe_dump(job | {"storage_path": str(tmp_path)}))
    told = CliRunner().invoke(main, ["check", str(path)])
    assert "unknown key 'regression.0.wieght'; did you mean 'weight'?" in told.output
