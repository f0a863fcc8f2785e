"""Pages of models: every result of a name, its runs, its recipe, and the way to its weights."""

import io
import re
import shutil
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import expect

from omnimat.base.confined import Confined
from omnimat.base.settings import fingerprint
from omnimat.base.workspace import Workspace
from omnimat.inference.package import Package
from omnimat.leaderboard.folds import FOLD
from omnimat_dashboard.artifacts import Artifacts
from omnimat_dashboard.catalogue import Catalogue
from omnimat_dashboard.links import model_slug
from omnimat_dashboard.model import model_page
from omnimat_dashboard.models import models_page
from omnimat_dashboard.packages import Packages
from omnimat_dashboard.query import Query

PACKAGE = Path(__file__).parents[1] / "fixtures" / "packages" / "v1" / "predicts.zip"
ALIGNED = "xrd + composition, fused, aligned first"


@pytest.fixture(scope="module")
def catalogue(storage):
    return Catalogue(storage.store)


@pytest.fixture(scope="module")
def page_of(storage, catalogue):
    """Make the page of a model of the common storage."""
    artifacts, packages = Artifacts(Workspace(storage.root)), Packages(Confined(storage.root))

    def page_of(name, **chosen):
        return model_page(catalogue, artifacts, packages, model_slug(name), **chosen)

    return page_of


@pytest.fixture
def packed(storage, tmp_path):
    """A storage with a package, and rows of the run that it holds; gives that run's row."""
    card = Package(PACKAGE).card
    (tmp_path / "models").mkdir()
    shutil.copy(PACKAGE, tmp_path / "models")
    update = {
        "run_name": card.name,
        "model": "a packed model",
        "variant": "finetuned",
        "dataset_fingerprint": card.trained[-1].dataset_fingerprint,
    }
    return storage.rows[0].model_copy(update=update)


def test_a_model_has_its_results_on_all_boards(page_of, storage):
    page = page_of(ALIGNED)
    rows = [row for row in storage.rows if row.model == ALIGNED]
    assert {one.placed.summary.group_id for one in page.results} == {row.group_id for row in rows}
    assert (page.line.num_results, page.line.num_boards) == (3, 3)
    assert all(one.placed.num_results == 3 for one in page.results)
    best = [one for one in page.results if one.placed.place == 1]
    assert page.line.num_best == len(best) == 3  # it is the one that errs least
    assert page_of("no such model") is None


def test_folds_are_also_shown_by_their_mean(storage, serve):
    first = next(row for row in storage.rows if row.task == "formation energy")

    def of_fold(fold, value):
        config = {**first.config, FOLD: {"property": "fold", "test": fold, "num_folds": 3}}
        return first.model_copy(
            update={
                "task": f"{first.task}, fold {fold} of 3",
                "config": config,
                "config_hash": fingerprint(config),
                "value": value,
            }
        )

    with serve(of_fold("0", 0.25), of_fold("1", 0.75), root=storage.root) as client:
        text = client.get(f"/models/{model_slug(first.model)}").text
    assert ">formation energy, mean over 2/3 folds</a>" in text
    assert "0.50 <span" in text
    assert "fold 0 of 3" in text


def test_the_lineage_goes_from_data_to_the_run_and_links_what_is_here(page_of):
    [steps] = [one.steps for one in page_of(ALIGNED).lineages if "lattice" in one.origin.run_name]
    assert [(one.kind, one.name) for one in steps] == [
        ("pretraining", "mini-anchored"),
        ("data set", "mp20-mini"),
        ("fine-tuning", "mini-lattice-lengths-scaled"),
    ]
    assert [one.page for one in steps] == [
        ("run", "mini-anchored"),
        ("dataset", "mp20-mini"),
        ("run", "mini-lattice-lengths-scaled"),
    ]
    [scratch, *_] = page_of("xrd + composition, fused").lineages
    assert [one.kind for one in scratch.steps] == ["data set", "training from scratch"]


def test_the_curves_are_those_of_the_pretraining_and_of_each_trial(page_of, storage):
    figures = page_of(ALIGNED).figures
    assert [(one["x"], one["y"]) for one in figures] == [
        ("step", "training loss"),
        ("epoch", "training loss"),
        ("epoch", "validation error"),
    ]
    assert [one["name"] for one in figures[0]["series"]] == ["mini-anchored"]
    assert len(figures[2]["series"]) == 9  # three tasks and seeds
    assert figures[2]["series"][0]["y"][0] == pytest.approx(0.1 + 0.8)
    assert figures[2]["series"][0]["mark"] == 10


def test_a_recipe_is_compared_with_that_of_any_rival(page_of, storage, catalogue):
    recipe = page_of(ALIGNED).recipe
    other = next(one for one in recipe.rivals if one.name == "xrd + composition, fused")
    chosen = next(one for one in recipe.choices if "lattice" in one.name)
    found = page_of(ALIGNED, recipe=chosen.group_id, against=other.group_id).recipe
    assert (found.chosen, found.against) == (chosen.group_id, other.group_id)
    differing = {one.name: tuple(one.told) for one in found.differences}
    assert differing["start"] == ("aligned", "scratch")
    assert found.num_equal + len(differing) == 5
    assert page_of(ALIGNED, recipe="nonsense", against="../..").recipe == recipe


def test_the_list_puts_first_who_is_best_most_often_and_searches(catalogue, storage):
    packages = Packages(Confined(storage.root))
    everything = models_page(catalogue, packages, Query())
    assert everything.lines[0].name == ALIGNED
    assert {one.name for one in everything.lines} == {row.model for row in storage.rows}
    found = models_page(catalogue, packages, Query(text="FUSED first"))
    assert [one.name for one in found.lines] == [ALIGNED]
    assert set(everything.packages) == {"mp-small", "mp-small-moduli"}
    assert everything.pages_of == {}  # the names of their runs alone would prove nothing


def test_names_that_differ_in_a_sign_have_pages_of_their_own():
    names = ["a+b", "a b", "A b", "", "中", "a" * 500, "a" * 501]
    slugs = [model_slug(name) for name in names]
    assert len(set(slugs)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9-]{8,70}", slug) for slug in slugs)


def test_a_package_of_the_storage_is_shown_and_given_away(packed, serve, tmp_path):
    with serve(packed) as client:
        text = client.get(f"/models/{model_slug('a packed model')}").text
        assert 'omnimat.load("predicts.zip")' in text
        assert "../package/predicts.zip" in text
        answer = client.get("/package/predicts.zip")
        assert answer.headers["content-disposition"] == 'attachment; filename="predicts.zip"'
        with zipfile.ZipFile(io.BytesIO(answer.content)) as got, zipfile.ZipFile(PACKAGE) as whole:
            assert {one: got.read(one) for one in got.namelist()} == {
                one: whole.read(one) for one in whole.namelist()
            }


def test_a_result_says_what_the_intervals_of_its_package_hold(packed, serve):
    (score,) = [one.score for one in Package(PACKAGE).card.predictor.predicted if one.calibration]
    row = packed.model_copy(update={"task": "volume", "num_test": score.num_test})
    other = row.model_copy(update={"seed": 1, "num_test": score.num_test + 1, "model": "another"})
    with serve(row, other) as client:
        text = client.get(f"/result/{row.group_id}").text
        assert f"They hold {score.coverage:.1%} of these {score.num_test}" in text
        assert "They hold" not in client.get(f"/result/{other.group_id}").text


def test_a_run_that_can_be_packed_says_the_command(packed, serve, tmp_path):
    shutil.rmtree(tmp_path / "models")
    with serve(packed) as client:
        text = client.get(f"/models/{model_slug('a packed model')}").text
    assert f"omnimat package {packed.run_name} --variant finetuned --out {tmp_path}" in text


@pytest.mark.parametrize(
    "file", ["mp-small.zip", "leaderboard.sqlite", "..%2fleaderboard.sqlite", "predicts", ""]
)
def test_nothing_but_packages_of_the_storage_is_given_away(packed, serve, file):
    with serve(packed) as client:
        assert client.get(f"/package/{file}").status_code == 404


def test_a_package_that_was_changed_or_leads_outside_is_not_given_away(packed, serve, tmp_path):
    models = tmp_path / "models"
    with zipfile.ZipFile(PACKAGE) as whole, zipfile.ZipFile(models / "changed.zip", "w") as changed:
        for name in whole.namelist():
            spoilt = b"other" if name.endswith(".safetensors") else whole.read(name)
            changed.writestr(zipfile.ZipInfo(name), spoilt)
    (models / "outside.zip").symlink_to(PACKAGE)
    (models / "no-package.zip").write_bytes(b"nothing")
    with serve(packed) as client:
        page = client.get("/models").text
        for name in ("changed", "outside", "no-package"):
            assert client.get(f"/package/{name}.zip").status_code == 404
    assert "outside.zip" not in page  # a link is no file
    assert "is no packed model" in page


def test_a_hostile_name_has_a_page(client, hostile):
    answer = client.get(f"/models/{model_slug(hostile)}")
    assert answer.status_code == 200
    assert hostile not in answer.text


def test_a_recipe_is_chosen_in_the_browser(open_page, address, storage):
    page = open_page(f"{address}/models")
    page.get_by_role("searchbox").fill("aligned")
    expect(page.locator("tr.result:visible")).to_have_count(1)
    page.get_by_role("link", name=ALIGNED).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(ALIGNED)
    page.locator("#learning").scroll_into_view_if_needed()
    expect(page.locator(".plot[data-drawn]").first).to_be_attached()
    page.get_by_label("Compare with").select_option(label="xrd + composition, fused")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator(".differences")).to_contain_text("scratch")
    assert "against=" in page.url
    page.locator(".lineage").get_by_role("link", name="mini-anchored").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("mini-anchored")


def test_the_folder_has_the_same_pages(open_page, site):
    page = open_page(f"{site}/models.html")
    page.get_by_role("link", name=ALIGNED).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(ALIGNED)
    expect(page.locator("#recipe")).to_be_visible()
    expect(page.get_by_label("Compare with")).to_have_count(0)
