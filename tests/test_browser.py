"""The report in a real browser, from disk: what a reader sees, hears and can reach.

Chromium comes from the system (Debian's package `chromium`), since Playwright's own is a download.
"""

import re
import shutil

import pytest
from axe_playwright_python.sync_playwright import Axe
from fagan.report.pages import TEMPLATE
from playwright.sync_api import expect, sync_playwright

pytestmark = pytest.mark.slow

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_browser = pytest.mark.skipif(
    CHROMIUM is None, reason="no browser here; `apt-get install chromium` (or your system's) has it"
)
# sandboxes need rights that a container's root lacks; the pages are our own
OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
RULES = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
CONTRAST = {"type": "rule", "values": ["color-contrast"]}
ONLY = {"resultTypes": ["violations"]}  # what is right needs no list
FIGURES = {"exclude": [["svg g"]]}  # an image to a reader, thousands of elements to axe
LOADED = """() => Promise.all([...document.images].map((image) => {
  image.loading = "eager";
  return image.decode().catch(() => {});  // a broken one is found below
}))"""
# every id, link and image of a page as the browser sees them
SEEN = """() => ({
  ids: [...document.querySelectorAll("[id]")].map((e) => e.id),
  links: [...document.links].map((a) => a.href),
  broken: [...document.images].filter((i) => !i.complete || !i.naturalWidth).map((i) => i.alt),
  headings: [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")].map((h) => +h.tagName[1]),
  overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
  page: getComputedStyle(document.body).backgroundColor,
})"""


class Reader:
    """A browser page that notes what it complains about and whatever it would load from outside."""

    def __init__(self, browser, **options):
        self.context = browser.new_context(**({"viewport": WIDE} | options))
        self.page = self.context.new_page()
        self.complaints, self.requests = [], []
        self.page.on("console", lambda m: self._complain(m.type in ("error", "warning"), m.text))
        self.page.on("pageerror", lambda error: self._complain(True, str(error)))
        self.context.route(re.compile(r"^(?!file:|data:)"), self._refuse)

    def _complain(self, counts, text):
        if counts:
            self.complaints.append(text)

    def _refuse(self, route):
        self.requests.append(route.request.url)
        route.abort()

    def open(self, path):
        self.page.goto(path.as_uri())
        return self.page


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(OPTIONS))
        yield browser
        browser.close()


@pytest.fixture
def reader(browser):
    """reader(**options of a context) opens a Reader; all are closed at the end."""
    readers = []

    def new(**options):
        readers.append(Reader(browser, **options))
        return readers[-1]

    yield new
    for one in readers:
        one.context.close()


@pytest.fixture(scope="module")
def pages(ablation):
    return sorted((ablation / "report").rglob("*.html"))


@pytest.fixture(scope="module")
def front(ablation):
    return ablation / "report" / "index.html"


# Every page


@needs_browser
def test_every_page_is_whole_and_stays_on_this_machine(pages, reader):
    one = reader()
    seen = {}
    for path in pages:
        page = one.open(path)
        page.evaluate(LOADED)
        seen[path.as_uri()] = found = page.evaluate(SEEN)
        assert not found["broken"], (path, found["broken"])
        assert len(found["ids"]) == len(set(found["ids"])), path
        assert found["headings"].count(1) == 1, path
        # no level is skipped on the way down
        steps = zip(found["headings"], found["headings"][1:], strict=False)
        assert all(after <= before + 1 for before, after in steps), (path, found["headings"])
    assert one.complaints == [] and one.requests == []
    folder = pages[0].parent
    for address, found in seen.items():
        for link in found["links"]:
            target, _, anchor = link.partition("#")
            assert target.startswith(folder.as_uri()), (address, link)
            if target in seen:
                assert not anchor or anchor in seen[target]["ids"], (address, link)
            else:
                assert (folder / target.removeprefix(folder.as_uri() + "/")).is_file(), link


@needs_browser
def test_a_phone_scrolls_no_page_sideways(pages, reader):
    one = reader(viewport=PHONE)
    for path in pages:
        assert one.open(path).evaluate(SEEN)["overflow"] <= 0, path


@needs_browser
def test_axe_finds_nothing(pages, reader):
    one, axe = reader(), Axe()
    for path in pages:
        if path.parent.name != "runs" or path.stem in ("fagan-seed0", "sagan-seed2"):
            found = axe.run(one.open(path), FIGURES, {"runOnly": RULES, **ONLY})
            assert found.violations_count == 0, f"{path}\n{found.generate_report()}"


@needs_browser
def test_axe_finds_no_faint_text_in_the_dark(front, reader):
    one, axe = reader(color_scheme="dark"), Axe()
    for name in ("index", "published", "comparison", "runs/fagan-seed0"):
        path = front.parent / f"{name}.html"
        found = axe.run(one.open(path), FIGURES, {"runOnly": CONTRAST, **ONLY})
        assert found.violations_count == 0, f"{path}\n{found.generate_report()}"


@needs_browser
def test_axe_finds_what_is_wrong(reader, tmp_path):
    (tmp_path / "bad.html").write_text("<img src='data:,'><p style='color: #bbb'>faint</p>")
    found = Axe().run(reader().open(tmp_path / "bad.html"), options={"runOnly": RULES, **ONLY})
    assert {"image-alt", "color-contrast", "html-has-lang"} <= {
        violation["id"] for violation in found.response["violations"]
    }


@needs_browser
def test_light_and_dark_are_the_reader_s(front, reader, tmp_path):
    ground = {}
    for scheme in ("light", "dark"):
        page = reader(color_scheme=scheme).open(front)
        ground[scheme] = sum(map(int, re.findall(r"\d+", page.evaluate(SEEN)["page"])[:3]))
        shot = page.screenshot(path=tmp_path / f"front-{scheme}.png", full_page=True)
        assert len(shot) > 10_000
    assert ground["light"] > 700 and ground["dark"] < 100


@needs_browser
def test_without_script_the_list_is_a_plain_table(front, reader):
    page = reader(java_script_enabled=False).open(front)
    assert page.locator("#runs-table tbody tr").count() == 12
    assert page.locator("#runs-table button").count() == 0
    assert not page.locator("#runs-filter").is_visible()


# The list of runs


def column(page, heading):
    """What the visible rows show under a heading, from the top."""
    heads = [text.strip() for text in page.locator("#runs-table thead tr > *").all_inner_texts()]
    place = heads.index(heading)
    rows = page.locator("#runs-table tbody tr:visible").all()
    return [row.locator("th, td").nth(place).inner_text() for row in rows]


def head(page, heading):
    return page.locator("#runs-table th", has=page.get_by_role("button", name=heading, exact=True))


@needs_browser
def test_a_click_sorts_numbers_as_numbers_with_the_missing_last(front, reader):
    page = reader().open(front)
    table_order = column(page, "run")
    for order, sign in (("ascending", 1), ("descending", -1)):
        page.get_by_role("button", name="FD", exact=True).click()
        assert head(page, "FD").get_attribute("aria-sort") == order
        shown = column(page, "FD")
        scores = [sign * float(text) for text in shown if text != "–"]
        assert scores == sorted(scores) and len(scores) == 9
        assert shown[9:] == ["–"] * 3  # in both directions
        assert f"by FD, {order}" in page.locator("#runs-filter output").inner_text()
    page.get_by_role("button", name="parameters").click()
    assert head(page, "FD").get_attribute("aria-sort") is None
    sizes = [int(text.replace(",", "")) for text in column(page, "parameters") if text != "–"]
    assert sizes == sorted(sizes) and sizes[0] == 530_000 and sizes[-1] == 744_000
    assert sorted(column(page, "run")) == sorted(table_order)


@needs_browser
def test_the_keyboard_sorts_and_filters(front, reader):
    page = reader().open(front)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    box = page.locator(".skip").bounding_box()
    assert box["y"] >= 0  # it shows itself
    page.keyboard.press("Enter")
    assert page.url.endswith("#content")
    page.locator("#runs-filter").get_by_label("Text").focus()
    page.keyboard.type("fagan 1")
    assert column(page, "run") == ["fagan-seed1", "fagan-relativistic-seed1"]
    reached = []
    for _ in range(8):  # the rest of the form, the table's scroller, its first heads
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent.trim()"))
        if reached[-1] == "run":
            break
    assert reached[-1] == "run", reached
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) == "solid"
    for key, order in (("Enter", "ascending"), ("Space", "descending")):
        page.keyboard.press(key)
        assert head(page, "run").get_attribute("aria-sort") == order
    assert column(page, "run") == ["fagan-seed1", "fagan-relativistic-seed1"]
    assert page.evaluate("document.activeElement.textContent") == "run"  # focus stays


@needs_browser
def test_filters_say_how_many_are_left_and_can_be_taken_back(front, reader):
    page = reader().open(front)
    form = page.locator("#runs-filter")
    said = page.locator("#runs-filter output")
    assert said.inner_text() == "12 of 12 runs"
    form.get_by_label("Arm").select_option("SAGAN")
    assert column(page, "arm") == ["SAGAN"] * 3 and said.inner_text() == "3 of 12 runs"
    form.get_by_label("Status").select_option("diverged")
    assert column(page, "run") == ["sagan-seed2"]
    form.get_by_label("Seed").select_option("0")
    assert column(page, "run") == [] and said.inner_text() == "0 of 12 runs"
    page.get_by_role("button", name="Show all").click()
    expect(said).to_have_text("12 of 12 runs")
    form.get_by_label("Seed").select_option("1")
    assert column(page, "seed") == ["1"] * 4


# Colours, by the numbers


def luminance(color):
    """Relative luminance of #rrggbb (WCAG 2.2)."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def themes():
    """{light, dark: {variable: colour}} and the colours of code, as page.css has them."""
    css = (TEMPLATE / "page.css").read_text()
    blocks = re.findall(r":root \{(.*?)\}", css, flags=re.S)
    light, dark = (dict(re.findall(r"--(\w+): (#\w{6})", block)) for block in blocks)
    code = re.findall(r"\.highlight[^{]*\{ color: (#\w{6})", css)
    return {"light": light | {f"code {c}": c for c in code[: len(code) // 2]}} | {
        "dark": light | dark | {f"code {c}": c for c in code[len(code) // 2 :]}
    }


def test_contrast_is_that_of_a_known_pair():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_the_contrast_of_wcag_aa(scheme):
    colors = themes()[scheme]
    grounds = {"page": colors.pop("page"), "shade": colors.pop("shade")}
    colors.pop("line")  # a hairline between rows says nothing by itself
    edge = colors.pop("edge")
    assert len(colors) == 9
    for name, color in colors.items():
        for ground, paper in grounds.items():
            assert contrast(color, paper) >= 4.5, f"{name} on {ground}"
    assert all(contrast(edge, paper) >= 3 for paper in grounds.values())
