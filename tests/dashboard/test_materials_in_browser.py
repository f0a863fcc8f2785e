"""Crystals that turn, and searches by file, by formula and by the periodic table, in a browser."""

import re
import shutil

import pytest
from playwright.sync_api import expect
from pymatgen.io.cif import CifWriter
from upath import UPath

import omnimat
from omnimat.materials.crystals import to_pymatgen
from omnimat.shards.codec import decode
from omnimat.shards.reader import read_records

DATASET = "mp20-mini"
PHONE = {"width": 390, "height": 844}
DROP = """([name, text]) => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([text], name));
  for (const kind of ["dragover", "drop"]) {
    const event = new DragEvent(kind, { dataTransfer, bubbles: true, cancelable: true });
    document.body.dispatchEvent(event);
  }
}"""
CHANGED = "before => document.querySelector('.turning .crystal').innerHTML !== before"


@pytest.fixture(scope="module")
def indexed(storage, serving, tmp_path_factory):
    """The address of a storage whose materials are indexed by a model that ships with omnimat."""
    root = UPath(tmp_path_factory.mktemp("browser")) / "storage"
    shutil.copytree(storage.root.path, root.path)
    folder = str(root / "datasets" / DATASET)
    omnimat.index(
        omnimat.load("mp-small", "cpu"), folder, root / "indexes" / "mini", progress=False
    )
    with serving(storage.url, root) as address:
        yield address


@pytest.fixture(scope="module")
def cif(storage, tmp_path_factory):
    """The file of the first material, and its id."""
    (raw,) = read_records(storage.root / "datasets" / DATASET, storage.records.head(1))
    path = tmp_path_factory.mktemp("given") / "mine.cif"
    crystal = to_pymatgen(decode(raw.material_id, raw.members).structure)
    CifWriter(crystal, significant_figures=10).write_file(path)
    return path, raw.material_id


def fits(page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def seen(page) -> str:
    return page.locator(".turning .crystal").inner_html()


def test_a_crystal_turns_by_keys_and_by_mouse(open_page, indexed, cif):
    page = open_page(f"{indexed}/materials/{DATASET}/{cif[1]}")
    expect(page.locator(".turn-hint")).to_be_visible()
    drawn = page.locator(".turning .crystal circle").count()
    first = seen(page)
    page.locator(".turning").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function(CHANGED, arg=first)
    assert page.locator(".turning .crystal circle").count() == drawn
    second, box = seen(page), page.locator(".turning .crystal").bounding_box()
    page.mouse.move(box["x"] + 100, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 140, box["y"] + 120, steps=4)
    page.mouse.up()
    page.wait_for_function(CHANGED, arg=second)
    width = page.locator(".turning .crystal").get_attribute("viewBox").split()[2]
    page.keyboard.press("+")
    expect(page.locator(".turning .crystal")).not_to_have_attribute(
        "viewBox", re.compile(f" {width} ")
    )


def test_a_file_is_searched_by_and_its_hits_lead_to_their_pages(open_page, indexed, cif):
    path, material_id = cif
    page = open_page(f"{indexed}/search")
    page.locator("#file").set_input_files(path)
    first = page.locator(".hit").first
    expect(first).to_contain_text("1.0000", timeout=120_000)
    expect(page.get_by_role("heading", name="mine.cif")).to_be_visible()
    assert page.locator(".hit svg.crystal").count() == 10
    foretold = omnimat.load("mp-small", "cpu").predict(str(path), progress=False).iloc[0]
    assert f"{foretold.iloc[1]:.4g}" in page.locator("#answer .foretold").inner_text()
    first.get_by_role("link").click()
    expect(page).to_have_url(re.compile(f"/materials/{DATASET}/{material_id}$"))


def test_a_file_can_be_dropped_anywhere(open_page, indexed, cif):
    path, material_id = cif
    page = open_page(f"{indexed}/search")
    page.evaluate(DROP, ["mine.cif", path.read_text()])
    expect(page.locator(".hit").first).to_contain_text(material_id, timeout=120_000)
    page.evaluate(DROP, ["mine.cif", "data_nothing"])
    expect(page.locator("#answer .wrong")).to_contain_text("mine.cif")


def test_the_periodic_table_chooses_elements_on_a_phone(open_page, indexed):
    page = open_page(f"{indexed}/search", viewport=PHONE)
    page.get_by_text("Elements and filters").click()
    page.locator("label.element", has_text=re.compile("^O$")).click()
    expect(page.locator("#chosen-elements")).to_have_text("O")
    page.get_by_role("button", name="Search").click()
    expect(page).to_have_url(re.compile("elements=O"))
    expect(page.locator(".hit").first).to_be_visible(timeout=120_000)
    for name in page.locator(".hit-name b").all_inner_texts():
        assert re.search("O(?![a-z])", name)
    assert fits(page)


def test_what_cannot_be_read_is_said_with_another_way(open_page, indexed):
    page = open_page(f"{indexed}/search")
    page.get_by_label("Formula or sentence").fill("ZnS")
    page.get_by_role("button", name="Search").click()
    expect(page.locator("#answer .wrong")).to_contain_text("composition", timeout=120_000)
    page.get_by_role("link", name="what contains Zn, S").click()
    expect(page).to_have_url(re.compile("elements=Zn%2CS"))


def test_pages_of_materials_fit_a_phone(open_page, indexed, cif):
    page = open_page(f"{indexed}/materials/{DATASET}/{cif[1]}", viewport=PHONE)
    assert fits(page)
    page.goto(f"{indexed}/materials/{DATASET}?q=")
    assert fits(page)


def test_points_of_maps_and_parity_plots_lead_to_materials(open_page, indexed, storage):
    page = open_page(f"{indexed}/map/mini-retrieval/structure-umap")
    leads = "() => document.querySelector('.plot .canvas').data?.[0].customdata?.[0]"
    page.wait_for_function(leads)
    assert f"/materials/{DATASET}/" in page.evaluate(leads)
    page.goto(f"{indexed}/result/{storage.groups['formation energy', 'aligned']}")
    page.locator(".plot.square").first.scroll_into_view_if_needed()
    leads = leads.replace(".plot .canvas", ".plot.square .canvas")
    page.wait_for_function(leads)
    page.goto(page.evaluate(f"new URL(({leads})(), location.href).href"))
    expect(page).to_have_url(
        re.compile(f"/materials/{DATASET}/{storage.records['material_id'][0]}$")
    )
    expect(page.get_by_role("heading", name="Crystal")).to_be_visible()
