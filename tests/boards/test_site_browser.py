"""The site in headless Chromium: from a file and a plain server, by mouse and keyboard, wide and narrow."""

from __future__ import annotations

import functools
import os
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.boards.made_up import machine
from tests.boards.made_up_site import REF, make, write
from zoo.boards.leaderboard import render
from zoo.boards.site import site_files

BOARD = f"boards/{REF}.html"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update",
    "--disable-background-networking", "--disable-sync", "--disable-dev-shm-usage", "--window-size=1280,900",
)  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    collection = make(out)
    write({**render(collection), **site_files(collection)}, out)
    return out


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    names = (("chromium", "chromedriver"), ("google-chrome", "chromedriver"))
    found = next(((shutil.which(a), shutil.which(b)) for a, b in names if shutil.which(a) and shutil.which(b)), None)
    if found is None:
        if os.environ.get("ZOO_TEST_BROWSER") == "required":
            pytest.fail("Chromium and its driver are not installed (apt-get install chromium chromium-driver)")
        pytest.skip("no Chromium and driver on this machine (apt-get install chromium chromium-driver)")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(found[0])
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(found[1])))
    driver.set_page_load_timeout(60)
    try:
        yield driver
    finally:
        driver.quit()


class View:
    """A page in the browser."""

    def __init__(self, driver: Any, base: str) -> None:
        self.driver, self.base = driver, base

    def open(self, page: str) -> View:
        self.driver.get("about:blank")  # a change of the fragment alone would not load the page again
        self.driver.get(f"{self.base}/{page}")
        return self

    def run(self, script: str, *given: Any) -> Any:
        return self.driver.execute_script(script, *given)

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements("css selector", selector)  # type: ignore[no-any-return]

    def one(self, selector: str) -> Any:
        return self.driver.find_element("css selector", selector)

    def column(self, key: str, table: str = "ranked") -> list[str]:
        """Texts of a column of the table under a heading, of the rows that are shown."""
        return self.run(  # type: ignore[no-any-return]
            """
            const heading = document.getElementById(arguments[0]);
            const table = heading.tagName === "TABLE" ? heading : heading.parentElement.querySelector("table");
            const at = [...table.querySelectorAll("thead th")].findIndex(th => th.dataset.col === arguments[1]);
            return [...table.tBodies[0].rows].filter(r => !r.hidden && !r.className).map(r => r.cells[at].innerText);
            """,
            table, key,
        )  # fmt: skip

    def head(self, key: str, table: str = "ranked") -> Any:
        return self.run(
            """
            const heading = document.getElementById(arguments[0]);
            const table = heading.tagName === "TABLE" ? heading : heading.parentElement.querySelector("table");
            return table.querySelector(`th[data-col="${arguments[1]}"]`);
            """,
            table, key,
        )  # fmt: skip

    def choose(self, name: str, value: str, form: str = "[data-tools]") -> None:
        from selenium.webdriver.support.ui import Select

        select = Select(self.one(f"{form} select[name={name}]"))
        by_text = [o.text for o in select.options]
        select.select_by_visible_text(value) if value in by_text else select.select_by_value(value)

    def errors(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


@pytest.fixture
def view(browser: Any, site: Path) -> Iterator[View]:
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    page = View(browser, site.as_uri())
    page.errors()
    yield page
    assert page.errors() == []


def test_no_page_complains(view: View, site: Path) -> None:
    for path in sorted(site.rglob("*.html")):
        view.open(path.relative_to(site).as_posix())
        assert view.errors() == [], path
        assert view.one("h1").text


def test_columns_sort_by_number_and_by_word(view: View) -> None:
    view.open(BOARD)
    assert view.column("model") == ["slow-net", "closed-net", "quick-net"]
    view.head("ms").find_element("css selector", "button").click()
    assert view.column("ms") == ["50.0", "40.0", "5.00"]
    assert view.head("ms").get_attribute("aria-sort") == "descending"
    view.head("ms").find_element("css selector", "button").click()
    assert view.column("ms") == ["5.00", "40.0", "50.0"]
    view.head("model").find_element("css selector", "button").click()
    assert view.column("model") == ["closed-net", "quick-net", "slow-net"]
    assert view.head("ms").get_attribute("aria-sort") is None


def test_missing_values_stay_last(view: View) -> None:
    view.open("index.html")
    button = view.head("ms", "models-table").find_element("css selector", "button")
    for _ in range(2):
        view.run("arguments[0].click()", button)
        shown = view.column("ms", "models-table")
        assert shown[-2:] == ["–", "–"]
        assert "–" not in shown[:-2]


def test_filters_and_search_narrow_every_table(view: View) -> None:
    view.open(BOARD)
    count = view.one("[data-tools] output")
    assert count.text == "5 rows"
    view.choose("commercial", "not allowed")
    assert view.column("model") == ["closed-net"]
    assert "of 5 rows" in count.text
    assert "Nothing here matches." in view.one("#not-rankable ~ .scroll").text
    view.one("[data-tools] button[type=reset]").click()
    assert len(view.column("model")) == 3
    assert count.text == "5 rows"
    view.one("[data-tools] input[type=search]").send_keys("in-sample unknown")
    assert view.column("model") == []
    assert view.column("model", "not-rankable") == ["unknown-net"]


def test_models_are_filtered_by_task_licence_and_runtime(view: View) -> None:
    view.open("index.html")
    form = '[data-tools="models"]'
    assert {s.get_attribute("name") for s in view.all(f"{form} select")} >= {"commercial", "status", "runtime"}
    view.choose("commercial", "allowed", form)
    assert view.column("model", "models-table") == ["quick-net", "slow-net"]
    view.choose("precision", "int8", form)
    assert view.column("model", "models-table") == ["slow-net"]


def test_a_view_can_be_linked(view: View) -> None:
    view.open(BOARD)
    view.choose("commercial", "not allowed")
    address = view.driver.current_url
    assert "commercial=not%20allowed" in address
    view.driver.get("about:blank")
    view.driver.get(address)
    assert view.column("model") == ["closed-net"]


def test_columns_are_chosen(view: View) -> None:
    view.open(BOARD)
    assert not view.head("mae").is_displayed()
    assert view.head("size").is_displayed()
    view.one(".columns summary").click()
    view.one(".columns input[value=mae]").click()
    view.one(".columns input[value=size]").click()
    assert view.head("mae").is_displayed()
    assert not view.head("size").is_displayed()
    view.one("[data-tools] input[type=search]").click()
    assert not view.one(".columns input[value=mae]").is_displayed()


def test_latency_is_that_of_the_machine_chosen(view: View) -> None:
    view.open(BOARD)
    assert view.column("ms") == ["40.0", "50.0", "5.00"]
    assert [p.is_displayed() for p in view.all(".plotted")] == [True, False]
    view.choose("on", machine("b cpu"))
    assert view.column("ms") == ["120", "150", "15.0"]
    assert [p.is_displayed() for p in view.all(".plotted")] == [False, True]


def test_the_plot_leads_to_models_by_mouse_and_keyboard(view: View) -> None:
    view.open(BOARD)
    links = view.all('.plotted[data-machine="0"] .plot a')
    assert len(links) == 3
    view.run("arguments[0].focus()", links[0])
    assert "ms (measured, ranked)" in view.one(".tip").text
    view.run("arguments[0].blur()", links[0])
    assert view.all(".tip") == []
    from selenium.webdriver.common.keys import Keys

    view.run("arguments[0].focus()", links[-1])
    view.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert view.one("h1").text in ("slow-net", "quick-net", "closed-net")


def test_the_keyboard_sorts(view: View) -> None:
    from selenium.webdriver.common.keys import Keys

    view.open(BOARD)
    view.run("arguments[0].focus()", view.head("model").find_element("css selector", "button"))
    view.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert view.column("model") == ["closed-net", "quick-net", "slow-net"]
    view.driver.switch_to.active_element.send_keys(Keys.SPACE)
    assert view.column("model") == ["slow-net", "quick-net", "closed-net"]


def test_links_lead_from_the_front_page_to_a_record(view: View) -> None:
    view.open("index.html")
    view.one("#boards-table tbody a").click()
    assert view.one("h1").text.startswith("DISFA")
    view.one("#ranked ~ .scroll a[href*=models]").click()
    assert view.one("h1").text == "slow-net"
    view.one("#measured ~ .scroll a[href$='.json']").click()
    assert '"schema_version"' in view.driver.page_source


def test_two_models_are_set_side_by_side(view: View) -> None:
    view.open("compare.html#a=slow-net&b=quick-net")
    text = view.one("#comparison").text
    assert "0.850 [0.800, 0.900] · held out" in text
    assert "+0.300" in text
    assert "python -m zoo.compare models=slow-net,quick-net protocol=disfa-intensity-5fold" in text
    assert "openvino fp32, 1 thread" in text
    view.one("[data-swap]").click()
    assert "−0.300" in view.one("#comparison").text
    assert "a=quick-net" in view.driver.current_url
    view.choose("b", "paper-net", "[data-compare]")
    assert "0.60 · same protocol" in view.one("#comparison").text
    view.choose("b", "closed-net", "[data-compare]")
    assert "intervals overlap" not in view.one("#comparison").text


def test_light_and_dark(view: View) -> None:
    def background() -> str:
        return view.run("return getComputedStyle(document.body).backgroundColor")  # type: ignore[no-any-return]

    light, dark = "rgb(252, 252, 250)", "rgb(21, 24, 27)"
    scheme = {"name": "prefers-color-scheme", "value": "dark"}
    view.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    view.open("index.html")
    assert background() == dark
    view.one("[data-theme-button]").click()
    assert background() == light
    view.open(BOARD)  # the choice is kept from page to page
    assert background() == light
    view.run("localStorage.clear()")
    view.open("index.html")
    assert background() == dark


@pytest.mark.parametrize("width", [360, 1280])
def test_pages_fit_the_screen(view: View, width: int) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    view.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    for page in ("index.html", BOARD, "models/quick-net.html", "latency/cpu@1.html", "compare.html",
                 "papers/libreface-2023-table-3.html"):  # fmt: skip
        view.open(page)
        # Tables scroll within their frame; the page itself does not.
        assert view.run("return document.documentElement.scrollWidth") <= width, page
        view.one("h1").is_displayed()


def test_without_scripts_everything_is_there(view: View) -> None:
    view.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        view.open(BOARD)
        text = view.one("main").text
        assert "0.850 [0.800, 0.900]" in text
        assert "Reported only" in text
        assert not view.one("[data-tools]").is_displayed()
        view.open("compare.html")
        assert "This page needs scripts" in view.one("main").text
    finally:
        view.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_it_works_from_a_plain_server(view: View, site: Path) -> None:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        served = View(view.driver, f"http://127.0.0.1:{server.server_address[1]}")
        served.open(BOARD)
        served.choose("commercial", "not allowed")
        assert served.column("model") == ["closed-net"]
        served.open("models/quick-net.html")
        assert served.one(".copy").text == "Copy"  # the clipboard is for pages of a server only
    finally:
        server.shutdown()
        server.server_close()


def test_the_committed_tables_fit_a_wide_screen(browser: Any) -> None:
    boards = Path(__file__).resolve().parents[2] / "leaderboards"
    view = View(browser, boards.as_uri())
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 1400, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    )
    kinds = (
        "index.html",
        "compare.html",
        "boards/*.html",
        "latency/*.html",
        "papers/*.html",
        "models/libreface-*.html",
    )
    wide = "return [...document.querySelectorAll('.scroll')].some(e => e.scrollWidth > e.clientWidth)"
    pages = [p.relative_to(boards).as_posix() for kind in kinds for p in sorted(boards.glob(kind))]
    assert [p for p in pages if view.open(p).run(wide)] == []
