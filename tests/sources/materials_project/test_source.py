import subprocess
import sys

import pytest
from pydantic import ValidationError
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.sources.materials_project.patience import Patience
from omnimat.sources.materials_project.settings import Access, Filters
from omnimat.sources.materials_project.source import MaterialsProject
from omnimat.sources.settings import IngestSettings


def test_how_it_is_asked_is_not_what_is_got():
    patient = MaterialsProject(access=Access(patience=Patience(total_s=9), max_parallel_requests=1))
    fingerprints = {
        IngestSettings(source=source).fingerprint() for source in (MaterialsProject(), patient)
    }
    assert len(fingerprints) == 1
    other = MaterialsProject(charge_density_points=16)
    assert IngestSettings(source=other).fingerprint() not in fingerprints


def test_filters_say_whether_all_is_wanted():
    assert MaterialsProject().is_whole
    assert MaterialsProject(filters=Filters(include_non_commercial=True)).is_whole
    assert not MaterialsProject(max_records=10).is_whole
    assert not MaterialsProject(filters=Filters(is_stable=False)).is_whole


def test_criteria_of_mp_api():
    filters = Filters(
        material_ids=("mp-aaaaaaft",),
        chemsys=("Li-Fe-O",),
        num_sites=(1, 12),
        energy_above_hull_ev_per_atom=(0, 0.1),
        theoretical=False,
    )
    assert filters.material_ids == ("mp-149",)
    assert filters.criteria() == {
        "chemsys": ["Li-Fe-O"],
        "num_sites": (1, 12),
        "energy_above_hull": (0, 0.1),
        "theoretical": False,
        "include_gnome": False,
        "deprecated": False,
    }


@pytest.mark.parametrize(
    "values",
    [
        {"filters": {"material_ids": ["no id!"]}},
        {"filters": {"has_props": ["charge"]}},
        {"filters": {"num_sites": [1]}},
        {"modalities": ["xrd"]},
        {"snapshot": "index.parquet", "max_records": 3},
        {"api_key": "x" * 32},
        {"access": {"max_parallel_requests": 50}},
    ],
)
def test_what_is_wrong_with_settings(values):
    with pytest.raises(ValidationError):
        MaterialsProject.model_validate(values)


def test_a_snapshot_needs_no_key_but_must_be_there(tmp_path, monkeypatch):
    monkeypatch.delenv("MP_API_KEY", raising=False)
    source = MaterialsProject(snapshot=str(tmp_path / "index-1.parquet"))
    with pytest.raises(UserError, match=r"source\.snapshot: .* does not exist"):
        source.located()
    (tmp_path / "index-1.parquet").touch()
    assert source.located() == source
    assert not source.can_retry(UPath(tmp_path))
    with pytest.raises(UserError, match="nothing is harvested yet"):
        MaterialsProject().num_items()


def test_job_files_are_read_without_the_clients():
    """Each takes seconds to import."""
    program = "import sys, omnimat.sources.settings; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert not {"mp_api", "boto3", "deltalake", "emmet"} & set(result.stdout.split())
