"""The whole harvest against local services that fail."""

import numpy as np
import pytest
from upath import UPath

from omnimat.base.errors import RunError, UserError
from omnimat.materials.record import Failure
from omnimat.sources.materials_project.fetch import fetch_charge_densities
from omnimat.sources.materials_project.open_data import OpenData
from omnimat.sources.materials_project.patience import Patience
from omnimat.sources.materials_project.settings import Access, Filters
from omnimat.sources.materials_project.snapshot import Snapshot
from omnimat.sources.materials_project.source import MaterialsProject

pytestmark = [
    # pymatgen calling spglib.
    pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning"),
]
ACCESS = Access(patience=Patience(total_s=0.5, first_wait_s=0.05))
PARSED = "materialsproject-parsed"


def harvested(source, directory, run):
    fixed = source.located().harvest(UPath(directory), run, report_progress=False)
    results = list(fixed.read(0, fixed.num_items() + 5))
    records = {r.material_id: r for r in results if not isinstance(r, Failure)}
    return records, [r for r in results if isinstance(r, Failure)]


def test_a_filtered_harvest_under_faults(materials, api, s3, run_in_turn, tmp_path, capsys):
    wanted = [m for m in materials if m.number not in (4, 5)]
    with_density = [m for m in wanted if "charge_density" in m.record.parts]
    missing, forbidden = with_density[2], with_density[5]
    s3.remove(missing.density_key)
    s3.forbid(forbidden.density_key)
    api.fail("materials/summary", 429, 429, 429, 429, 429, 503)
    api.fail("materials/robocrys", 503, "cut", 429)
    api.fail("materials/elasticity", "cut", 500)
    api.fail("materials/electronic_structure", 504)
    api.fail("materials/tasks", 503, 503)
    s3.fail("chgcars/", "unavailable", 4)
    s3.fail("chgcars/", "cut", 3)
    s3.fail("total-dos", "unavailable", 6)

    source = MaterialsProject(
        filters=Filters(material_ids=tuple(m.id for m in wanted)), access=ACCESS
    )
    records, failures = harvested(source, tmp_path, run_in_turn)

    with capsys.disabled():
        print(f"\nREST faults {dict(api.injected)}, S3 faults {s3.log()['injected']}", end=" ")
    assert list(records) == [m.id for m in wanted]
    assert {f.material_id: f.reason for f in failures} == {
        missing.id: f"charge_density: S3 404: s3://{PARSED}/{missing.density_key}",
        forbidden.id: f"charge_density: S3 403: s3://{PARSED}/{forbidden.density_key}",
    }
    for m in wanted:
        check_record(m, records[m.id], has_density=m not in (missing, forbidden))
    assert not any(api.faults.values())
    assert sum(s3.log()["injected"].values()) == 13
    # One batch each, but for repeats after faults.
    assert api.count("materials/core") == 1
    assert api.count("materials/robocrys") < 8


def check_record(m, record, has_density=True):
    np.testing.assert_allclose(
        record.structure.lattice_angstrom, m.record.structure.lattice_angstrom, atol=1e-12
    )
    assert record.structure.atomic_numbers.tolist() == m.record.structure.atomic_numbers.tolist()
    assert record.provenance["source"] == "Materials Project"
    assert record.provenance["licence"] == ["not stated", "CC-BY-4.0"][m.number % 2]
    assert record.parts.get("text") == (None if m.number == 0 else m.record.parts["text"])
    expected = m.record.properties
    for name in ("band_gap_ev", "bulk_modulus_gpa", "elastic_lower_5x5_gpa", "crystal_system"):
        assert record.properties.get(name) == expected.get(name)
    if "elastic_lower_5x5_gpa" in expected:
        assert record.properties["elastic_lower_6x6_gpa"][15:] == [0, 0, 0, 0, 0, 77]
    assert ("dos" not in record.parts) == ("dos" not in m.record.parts)
    if "dos" in record.parts:
        # float32 of energies up to 100 eV.
        np.testing.assert_allclose(
            record.parts["dos"].energies_ev, m.record.parts["dos"].energies_ev, atol=2e-5
        )
        up, down = m.record.parts["dos"].spin_up_per_ev, m.record.parts["dos"].spin_up_per_ev / 2
        if m.number % 4 == 0:
            up = down
            assert "not spin-polarized" in record.provenance["dos"]
        np.testing.assert_allclose(record.parts["dos"].spin_up_per_ev, up, rtol=1e-6)
        np.testing.assert_allclose(record.parts["dos"].spin_down_per_ev, down, rtol=1e-6)
    assert ("charge_density" in record.parts) == (
        has_density and "charge_density" in m.record.parts
    )
    if "charge_density" in record.parts:
        density = m.record.parts["charge_density"].astype(np.float64)
        assert record.parts["charge_density"].shape == (32, 32, 32)
        # The finer grids hold the same series, but for its highest term.
        scale = np.abs(density).max()
        np.testing.assert_allclose(record.parts["charge_density"], density, atol=2e-2 * scale)
        np.testing.assert_allclose(record.parts["charge_density"].mean(), density.mean(), rtol=1e-5)
        assert record.provenance["charge_density"].startswith(f"task {m.static_tasks[0]}, ")


def test_the_whole_database_comes_from_tables(materials, api, s3, run_in_turn, tmp_path, capsys):
    # There is no table of elasticity, and reading that of texts fails at first.
    s3.fail("collections/robocrys/", "unavailable", 5)
    source = MaterialsProject(access=ACCESS)
    assert source.is_whole
    records, failures = harvested(source, tmp_path, run_in_turn)
    assert failures == []
    # Neither the other version, nor what is deprecated or not for commercial use; but every null.
    assert list(records) == [m.id for m in materials]
    for m in materials:
        check_record(m, records[m.id])
        assert records[m.id].provenance["database_version"] == "2026-11-01"
    assert "S3 has no table s3://materialsproject-build/collections/elasticity/" in (
        capsys.readouterr().out
    )
    assert {route for route, _ in api.requests} == {
        "heartbeat",
        "materials/elasticity",
        "materials/tasks",
    }


@pytest.mark.parametrize(
    ("filters", "is_met"),
    [
        (Filters(num_sites=(1, 4)), lambda m: len(m.crystal) <= 4),
        (
            Filters(is_stable=True, has_props=("dos",)),
            lambda m: m.number % 2 == 0 and "dos" in m.record.parts,
        ),
        (Filters(exclude_elements=("O",)), lambda m: "O" not in m.crystal.composition),
    ],
)
def test_filters_choose_the_materials(materials, api, run_in_turn, tmp_path, filters, is_met):
    source = MaterialsProject(filters=filters, modalities=("text",), access=ACCESS)
    records, _ = harvested(source, tmp_path, run_in_turn)
    assert list(records) == [m.id for m in materials if is_met(m)]
    assert 0 < len(records) < len(materials)
    assert {route for route, _ in api.requests} == {
        "heartbeat",
        "materials/summary",
        "materials/robocrys",
    }


def test_max_records_and_pages(materials, api, run_in_turn, tmp_path, monkeypatch):
    monkeypatch.setattr("omnimat.sources.materials_project.rest.PAGE_SIZE", 3)
    source = MaterialsProject(max_records=7, modalities=(), access=ACCESS)
    records, _ = harvested(source, tmp_path, run_in_turn)
    assert list(records) == [m.id for m in materials[:7]]
    assert sum("_page" in query for _, query in api.requests) == 3


def test_one_poisonous_document_costs_no_other(materials, api, run_in_turn, tmp_path):
    api.poison["materials/robocrys"] = materials[8].id
    source = MaterialsProject(max_records=16, modalities=("text",), access=ACCESS)
    records, failures = harvested(source, tmp_path, run_in_turn)
    assert failures == [Failure(materials[8].id, "text: HTTP 500")]
    assert [i for i, r in records.items() if "text" not in r.parts] == [
        materials[0].id,
        materials[8].id,
    ]
    # Four halvings of 16.
    assert api.count("materials/robocrys") == 9


def test_what_a_table_cannot_give_is_named(materials, api, s3, run_in_turn, tmp_path):
    ours = next(m for m in materials if "dos" not in m.record.parts)
    documents = api.routes["materials/electronic_structure"]
    documents[ours.number] = {"material_id": ours.id, "dos": {"task_id": "mp-4"}}
    source = MaterialsProject(modalities=("dos",), max_records=100, access=ACCESS)
    _, failures = harvested(source, tmp_path / "one", run_in_turn)
    assert failures == [
        Failure(ours.id, "dos: S3: task mp-4 is not in core/electronic-structure/total-dos/")
    ]
    with s3.forbidden_table("core/electronic-structure/total-dos"):
        _, failures = harvested(source, tmp_path / "two", run_in_turn)
    refused = "dos: S3 403: s3://materialsproject-parsed/core/electronic-structure/total-dos/"
    with_dos = [m.id for m in materials if "dos" in m.record.parts]
    reasons = {f.material_id: f.reason for f in failures if f.material_id != ours.id}
    assert reasons == dict.fromkeys(with_dos, refused)


@pytest.mark.parametrize(
    ("dies_at", "message"),
    [
        ("materials/robocrys", "the Materials Project does not answer [(]HTTP 503[)]; what was"),
        ("", "summary route gives nothing [(]MPRestError: .*IncompleteRead"),
    ],
)
def test_a_service_that_is_down_stops_the_run(api, run_in_turn, tmp_path, dies_at, message):
    source = MaterialsProject(max_records=3, modalities=("text",), access=ACCESS)
    api.dies_at = dies_at
    if not dies_at:  # a broken route alone
        api.fail("materials/summary", *["cut"] * 1000)
    with pytest.raises(RunError, match=message):
        source.harvest(UPath(tmp_path), run_in_turn, report_progress=False)


def test_the_key(api, run_in_turn, tmp_path, monkeypatch):
    source = MaterialsProject(max_records=3, access=ACCESS)
    monkeypatch.setenv("MP_API_KEY", "x" * 32)
    with pytest.raises(UserError, match=r"the Materials Project refuses it \(HTTP 401"):
        source.harvest(UPath(tmp_path), run_in_turn, report_progress=False)
    monkeypatch.setenv("MP_API_KEY", "short")
    with pytest.raises(UserError, match="MP_API_KEY does not hold 32 characters"):
        source.located()
    monkeypatch.delenv("MP_API_KEY")
    with pytest.raises(UserError, match="MP_API_KEY is not set: set it to your key"):
        source.located()


def test_non_commercial_data_need_consent(api, run_in_turn, tmp_path):
    source = MaterialsProject(filters=Filters(include_non_commercial=True), access=ACCESS)
    with pytest.raises(UserError, match="include_non_commercial: this key has no access"):
        source.harvest(UPath(tmp_path), run_in_turn, report_progress=False)


def test_an_older_calculation_is_taken_where_the_newest_has_no_object(materials, s3, tmp_path):
    material = next(m for m in materials if "charge_density" in m.record.parts)
    tasks = {material.id: ["mp-77", material.static_tasks[0]]}
    directory, s3_here = UPath(tmp_path), OpenData(s3.url)
    assert fetch_charge_densities(directory, s3_here, ACCESS.patience, tasks, 16) == {}
    ((_, document),) = Snapshot(directory).documents("charge_density", [material.id])
    assert document.arrays["grid"].shape == (16, 16, 16)
    assert document.values["task_id"] == material.static_tasks[0]


def test_a_mirror_that_is_down_stops_the_run(materials, tmp_path):
    nowhere = OpenData("http://127.0.0.1:9")
    with pytest.raises(RunError, match=r"open data on S3 does not answer .*; what was fetched"):
        fetch_charge_densities(
            UPath(tmp_path), nowhere, Patience(total_s=0), {"mp-1": ["mp-2"]}, 16
        )
