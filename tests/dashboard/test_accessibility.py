"""Every page for those who cannot see it, use no mouse, or print it: axe finds nothing serious."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from omnimat.leaderboard.columns import board_of
from omnimat_dashboard.links import model_slug

SERIOUS = {"serious", "critical"}
# Boxes that are wider inside, and hold nothing that takes the focus.
STUCK = """() => [...document.querySelectorAll(".scroll, pre")]
  .filter((box) => box.scrollWidth > box.clientWidth + 1 && box.tabIndex < 0)
  .filter((box) => !box.querySelector("a, button, input, select"))
  .map((box) => box.outerHTML.slice(0, 99))"""

INK = "Math.max(...getComputedStyle(document.body).color.match(/[\\d.]+/g).map(Number))"
BRIGHTNESS = """() => {
  const ink = getComputedStyle(document.querySelector(".plot .ytick text")).fill;
  return Math.max(...ink.match(/[\\d.]+/g).slice(0, 3).map(Number));
}"""


@pytest.fixture(scope="module")
def paths(storage):
    """One page of each kind and state."""
    groups = storage.groups
    a, b = groups["crystal system", "aligned"], groups["crystal system", "hostile"]
    board = next(board_of(row).board_id for row in storage.rows if row.task == "crystal system")
    energy = groups["formation energy", "aligned"]
    model = model_slug(storage.rows[0].model)
    retrieval = next(row.group_id for row in storage.rows if row.task.startswith("retrieval"))
    results = ["/", f"/board/{board}", f"/result/{a}", f"/result/{energy}", f"/compare?a={a}&b={b}"]
    results.append(f"/result/{retrieval}")
    models = ["/models", f"/models/{model}"]
    material = storage.records["material_id"].iloc[0]
    stored = ["/datasets", "/dataset/mp20-mini", "/maps", "/map/mini-retrieval", "/search"]
    stored += ["/materials/mp20-mini", f"/materials/mp20-mini/{material}"]
    runs = ["/runs", "/run/going", "/run/silent", "/run/mini-sweep", "/together?run=going"]
    return [*results, *models, *stored, *runs]


def serious(page, **options) -> list:
    """Give what axe finds on a page that keeps somebody out."""
    violations = Axe().run(page, options={"resultTypes": ["violations"], **options})
    return [
        (page.url, one["id"], [node["html"][:200] for node in one["nodes"][:3]])
        for one in violations.response["violations"]
        if one["impact"] in SERIOUS
    ]


def test_pages_keep_nobody_out_who_sees_or_points_differently(open_page, address, paths):
    page, found = open_page(address), []
    for path in paths:
        page.goto(address + path)
        found += serious(page)
        assert page.get_by_role("heading", level=1).count() == 1, path
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_be_focused()
    assert found == []


def test_dark_printed_and_narrow_pages_can_be_read(open_page, address, paths):
    page, found = open_page(address, color_scheme="dark"), []
    for path in paths:
        page.goto(address + path)
        found += serious(page, runOnly=["color-contrast"])
        page.emulate_media(media="print")
        for control in ("nav", "select", "button", "input", ".foot"):
            assert page.locator(f"{control}:visible").count() == 0, (path, control)
        assert page.evaluate(INK) < 80, path
        page.emulate_media(media="screen")
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate(STUCK) == [], path
        page.set_viewport_size({"width": 1280, "height": 720})
    assert found == []


def test_pages_of_folds_keep_nobody_out(open_page, folds, serving):
    root, _, means = folds
    near, far = means["near"], means["far"]
    paths = ["/", f"/board/{near.summary.board.board_id}", f"/result/{means['part'].mean_id}"]
    paths += [f"/compare?a={near.mean_id}&b={far.mean_id}"]
    found = []
    with serving(f"sqlite:///{root / 'leaderboard.sqlite'}", root) as address:
        page = open_page(address, color_scheme="dark", viewport={"width": 390, "height": 844})
        for path in paths:
            page.goto(address + path)
            found += serious(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
            assert page.evaluate(STUCK) == [], path
    assert found == []


def test_figures_are_printed_dark_on_white(open_page, address):
    page = open_page(f"{address}/run/going", color_scheme="dark")
    expect(page.locator(".plot[data-drawn]").first).to_be_attached()

    def brightness():
        return page.evaluate(BRIGHTNESS)

    assert brightness() > 120
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".plot:not([data-drawn])").count() == 0  # those below the fold too
    assert brightness() < 120
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert brightness() > 120
