"""The pages in a browser: Debian's Chromium, driven by Playwright, on a real server."""

import csv
import json

from playwright.sync_api import expect
from upath import UPath

from omnimat.base.settings import fingerprint
from omnimat.leaderboard.columns import board_of
from omnimat.leaderboard.store import LeaderboardStore
from omnimat_dashboard.links import model_slug

PHONE = {"width": 390, "height": 844}


def board(storage, task) -> str:
    row = next(row for row in storage.rows if row.task == task)
    return f"/board/{board_of(row).board_id}"


def models(page) -> list[str]:
    return page.locator("tr.result:not([hidden]) .model a").all_inner_texts()


def test_a_board_is_sorted_and_its_address_remembers(open_page, address, storage):
    page = open_page(address + board(storage, "formation energy"))
    by_score = models(page)
    page.locator("th .sort", has_text="Model").click()
    assert models(page) == sorted(by_score, key=str.lower)
    page.locator("th .sort", has_text="Model").click()
    assert models(page) == sorted(by_score, key=str.lower, reverse=True)
    assert page.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    page.reload()
    assert models(page) == sorted(by_score, key=str.lower, reverse=True)


def test_a_board_is_filtered_and_its_download_follows(open_page, address, storage, tmp_path):
    page = open_page(address + board(storage, "formation energy"))
    page.get_by_role("searchbox").fill("fused first")
    expect(page.locator("tr.result:visible")).to_have_count(1)
    expect(page.locator(".filters output")).to_have_text("1 shown")
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    download.value.save_as(tmp_path / "shown.csv")
    with (tmp_path / "shown.csv").open() as lines:
        assert [line["variant"] for line in csv.DictReader(lines)] == ["finetuned"]
    with page.expect_download() as download:
        page.get_by_role("link", name="JSON", exact=True).first.click()
    assert len(json.loads(download.value.path().read_text())) == 1
    page.get_by_role("searchbox").fill("zeolite")
    expect(page.get_by_role("heading", name="Nothing found")).to_be_visible()
    page.get_by_role("searchbox").fill("")
    page.locator("select[name=variant]").select_option("from scratch")
    expect(page.locator("tr.result:visible")).to_have_count(1)
    assert "variant=from_scratch" in page.url


def test_the_overview_asks_the_server_for_what_it_does_not_hold(open_page, address):
    page = open_page(address)
    page.get_by_role("searchbox").fill("lattice frozen")
    expect(page.locator("section.card tr.result")).to_have_count(1)
    expect(page.locator(".filters output")).to_have_text("1 result")
    expect(page.get_by_role("searchbox")).to_be_focused()
    assert page.url.endswith("?q=lattice+frozen")
    expect(page.locator("td.cell-best, td.cell-tied, td.cell-worse")).to_have_count(1)


def test_single_folds_are_one_click_from_their_mean(open_page, storage, tmp_path, serving):
    url = f"sqlite:///{tmp_path / 'board.sqlite'}"
    row = next(row for row in storage.rows if row.task == "formation energy" and row.seed == 0)
    LeaderboardStore(url).upsert(row_of_fold(row, place) for place in range(2))
    with serving(url, storage.root) as address:
        page = open_page(address, viewport={"width": 1280, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280
        page.get_by_role("link", name="0.20 ± 0.14").click()
        fold = page.get_by_role("link", name="fold 1 of 2")
        expect(fold).to_be_visible()
        fold.click()
        expect(page.get_by_role("heading", level=1)).to_have_text("formation energy, fold 1 of 2")


def row_of_fold(row, place):
    config = row.config | {"fold": {"property": "fold", "test": str(place), "num_folds": 2}}
    changes = {"task": f"{row.task}, fold {place} of 2", "value": 0.1 + 0.2 * place}
    return row.model_copy(
        update=changes | {"config": config, "config_hash": fingerprint(config), "num_test": 400}
    )


def test_a_result_opens_with_its_figures(open_page, address, storage):
    page = open_page(address + board(storage, "lattice lengths, scaled"))
    page.locator("tr.result .model a", has_text=storage.rows[0].model).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(storage.rows[0].model)
    for plot in page.locator(".plot").all():
        plot.scroll_into_view_if_needed()
    expect(page.locator(".plot[data-drawn]")).to_have_count(page.locator(".plot").count())
    expect(page.locator(".plot .scatterlayer .point").first).to_be_attached()
    calibration = page.get_by_role("region", name="Calibration")
    calibration.get_by_text("The same in numbers").click()
    expect(calibration.get_by_role("row")).to_have_count(7)  # six tens of materials
    assert page.locator("pre").inner_text().startswith("omnimat leaderboard verify")


def test_two_results_are_chosen_and_compared(open_page, address, storage):
    page = open_page(address + board(storage, "crystal system"))
    button = page.get_by_role("button", name="Compare")
    expect(button).to_be_disabled()
    for place in (0, 2):
        page.get_by_role("checkbox").nth(place).check()
    button.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Do they differ?")
    expect(page.locator(".verdict")).to_contain_text("is better, by")
    page.go_back()
    for place in range(3):
        page.get_by_role("checkbox").nth(place).check()
    button.click()
    expect(page.locator(".pairs tbody tr")).to_have_count(3)
    first = page.locator(".pairs tbody tr").first.locator("td")
    expect(first.last).to_have_text("better")
    assert "p = " in first.last.get_attribute("title")


def test_a_map_tells_the_formula_under_the_mouse(open_page, address, storage):
    page = open_page(f"{address}/map/mini-retrieval")
    expect(page.locator(".plot[data-drawn]")).to_have_count(1)
    assert page.locator(".plot canvas").count() > 0  # WebGL
    x, y = page.evaluate(
        """() => {
          const plot = document.querySelector(".canvas"), { xaxis, yaxis } = plot._fullLayout;
          const box = plot.getBoundingClientRect(), point = plot.data[0];
          return [box.x + xaxis._offset + xaxis.d2p(point.x[0]),
                  box.y + yaxis._offset + yaxis.d2p(point.y[0])];
        }"""
    )
    page.mouse.move(x, y)
    label = page.locator(".hoverlayer .hovertext")
    expect(label).to_be_visible()
    text = label.text_content()
    assert any(one in text for one in storage.records["material_id"])
    assert "crystal system: " in text
    page.get_by_label("Colour by").select_option("formation energy (eV/atom)")
    expect(page.locator(".cbtitle")).to_contain_text("eV/atom")
    formula = storage.records["reduced_formula"].iloc[0]
    page.get_by_role("searchbox").fill(formula)
    expect(page.locator("#found")).to_contain_text("found")
    assert not page.locator("#found").inner_text().startswith("0 ")


def background(page) -> int:
    """How bright the page is."""
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    return int(colour.partition("(")[2].partition(",")[0])


def test_dark_follows_the_system_until_somebody_chooses(open_page, address, storage):
    page = open_page(address + board(storage, "crystal system"), color_scheme="dark")
    assert background(page) < 60
    expect(page.locator(".plot[data-drawn]").first).to_be_attached()
    text = page.locator(".plot .ytick text").first
    dark = text.evaluate("node => node.style.fill")
    page.keyboard.press("t")
    page.get_by_role("button", name="light").wait_for()
    assert background(page) > 200
    page.wait_for_function(
        "dark => document.querySelector('.plot .ytick text').style.fill !== dark", arg=dark
    )
    page.reload()
    assert background(page) > 200


def test_nothing_is_wider_than_a_phone(open_page, address, storage):
    groups = storage.groups
    a, b = groups["crystal system", "aligned"], groups["crystal system", "hostile"]
    paths = ["/", board(storage, "crystal system"), f"/result/{a}", f"/compare?a={a}&b={b}"]
    paths += [f"/result/{storage.rows[0].group_id}", f"/result/{storage.rows[-1].group_id}"]
    paths += ["/datasets", "/dataset/mp20-mini", "/maps", "/map/mini-retrieval"]
    paths += ["/runs", "/run/going", "/run/mini-sweep", "/together?run=going", "/models"]
    paths += [f"/models/{model_slug(row.model)}" for row in (storage.rows[0], storage.rows[-1])]
    page = open_page(address, viewport=PHONE)
    for path in paths:
        page.goto(address + path)
        page.wait_for_load_state("networkidle")
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= PHONE["width"], path
        assert page.locator("details.long[open]").count() == 0, path


def test_the_page_of_a_run_goes_on_with_it(open_page, tmp_path, begin_run, new_report, serving):
    run = UPath(tmp_path) / "runs" / "going"
    history = begin_run(run, 10, 20)
    with serving(f"sqlite:///{tmp_path / 'leaderboard.sqlite'}", tmp_path) as address:
        page = open_page(f"{address}/runs")
        page.get_by_role("link", name="going").click()
        expect(page.locator(".counts")).to_contain_text("20 of 200")
        page.clock.install()
        page.reload()
        expect(page.locator(".plot[data-drawn] .main-svg").first).to_be_attached()
        history.add(new_report(30))
        page.clock.fast_forward("00:16")
        expect(page.locator(".counts")).to_contain_text("30 of 200")
        expect(page.locator(".plot[data-drawn] .main-svg").first).to_be_attached()
        page.wait_for_function("document.querySelector('.canvas').data[0].x.at(-1) === 30")
        # While it cannot be read, the page stays as it is, and is renewed after.
        (run / "job.json").rename(run / "elsewhere.json")
        with page.expect_response("**/run/going"):
            page.clock.fast_forward("00:16")
        expect(page.locator(".counts")).to_contain_text("30 of 200")
        (run / "elsewhere.json").rename(run / "job.json")
        (run / "result.json").write_text("{}")
        page.clock.fast_forward("00:16")
        expect(page.locator(".status")).to_have_text("finished")
        expect(page.locator("#live")).not_to_have_attribute("data-live", "")


def test_a_run_is_read_without_scripts(open_page, address):
    page = open_page(f"{address}/runs", java_script_enabled=False)
    page.get_by_role("link", name="mini-sweep").click()
    expect(page.get_by_role("cell", name="better")).to_be_visible()


def test_everything_goes_by_the_keyboard(open_page, address, storage):
    page = open_page(address + board(storage, "formation energy"))
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("fused")
    expect(page.locator("tr.result:visible")).to_have_count(2)
    page.keyboard.press("Escape")
    expect(page.locator("tr.result:visible")).to_have_count(3)
    page.keyboard.press("Escape")
    for key in ("j", "x", "j", "x", "c"):
        page.keyboard.press(key)
    page.wait_for_url("**/compare?**")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("o")
    expect(page.get_by_role("heading", level=1)).to_have_text("Results")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/models/*")


def test_a_folder_on_any_web_server_does_the_same(open_page, site, storage):
    page = open_page(f"{site}/index.html?q=lattice")
    expect(page.locator("section.card tr.result:visible")).to_have_count(3)
    page.get_by_role("link", name="lattice lengths, scaled", exact=True).last.click()
    page.wait_for_load_state()  # its script sorts the table, not the web server
    page.locator("th .sort", has_text="Model").click()
    assert models(page) == sorted(models(page), key=str.lower)
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert download.value.path().read_text().count("\n") == 4
    page.locator(".model a").first.click()
    expect(page.locator(".plot[data-drawn]").first).to_be_attached()
    for name in ("Models", "Data sets", "Maps", "Runs", "Results"):
        page.get_by_role("navigation", name="Pages").get_by_role("link", name=name).click()
        expect(page.get_by_role("heading", level=1)).to_be_visible()
