"""The pages in a real browser, from disk: what a reader sees, hears and can reach.

Chromium comes from the system (Debian's package `chromium`), since Playwright's own is a download.
"""

import re
import shutil

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
WANTED = "no browser here; `apt-get install chromium` (or your system's) has it"
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason=WANTED)]
# sandboxes need rights that a container's root lacks; the pages are our own
OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
RULES = {"runOnly": {"type": "tag", "values": TAGS}, "resultTypes": ["violations"]}
UNFOLD = "document.querySelectorAll('details').forEach((folded) => { folded.open = true })"
FILTER = "getComputedStyle(document.querySelector('figure img')).filter"
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
        self.context.route(re.compile(r"^(?!file:|data:|blob:)"), self._refuse)

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
def pages(analysed):
    """The pages of small notebooks: figures, photographs, tables, a list; and a run's own."""
    found = [*analysed.folder.glob("analysis/*.html"), *analysed.folder.glob("runs/*/*.html")]
    assert {path.stem for path in found} == {"index", "scores", "samples", "train"}
    return sorted(found)


@pytest.fixture(scope="module")
def front(analysed):
    return analysed.folder / "analysis" / "index.html"


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
    assert one.complaints == [] and one.requests == []
    for address, found in seen.items():
        for link in found["links"]:
            target, _, anchor = link.partition("#")
            if target in seen:
                assert not anchor or anchor in seen[target]["ids"], (address, link)


def test_a_script_that_is_not_itables_does_not_run(front, reader, tmp_path):
    text = front.read_text()
    place = text.rindex("</main>")
    bad = tmp_path / "bad.html"
    bad.write_text(f"{text[:place]}<script>document.title = 'changed'</script>{text[place:]}")
    one = reader()
    page = one.open(bad)
    assert page.title() == "What of index? \N{EN DASH} tiny"
    assert any("Content Security Policy" in said for said in one.complaints)
    expect(page.locator(".listing table.dataTable tbody tr")).to_have_count(10)


def test_a_phone_scrolls_no_page_sideways(pages, reader):
    one = reader(viewport=PHONE)
    for path in pages:
        assert one.open(path).evaluate(SEEN)["overflow"] <= 0, path


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(scheme, pages, reader):
    """Nothing that a screen reader misses, no faint text; the code unfolded."""
    one = reader(color_scheme=scheme)
    for path in pages:
        page = one.open(path)
        page.evaluate(UNFOLD)
        found = Axe().run(page, options=RULES)
        assert found.violations_count == 0, f"{path}\n{found.generate_report()}"


def test_axe_finds_what_is_wrong(reader, tmp_path):
    (tmp_path / "bad.html").write_text("<img src='data:,'><p style='color: #bbb'>faint</p>")
    found = Axe().run(reader().open(tmp_path / "bad.html"), options=RULES)
    ids = {violation["id"] for violation in found.response["violations"]}
    assert {"image-alt", "color-contrast", "html-has-lang"} <= ids


def test_light_and_dark_are_the_reader_s_and_photographs_keep_their_colours(front, reader):
    ground, filters = {}, {}
    for scheme in ("light", "dark"):
        page = reader(color_scheme=scheme).open(front)
        ground[scheme] = sum(map(int, re.findall(r"\d+", page.evaluate(SEEN)["page"])[:3]))
        drawn = page.evaluate(FILTER)
        page = reader(color_scheme=scheme).open(front.with_name("samples.html"))
        filters[scheme] = drawn, page.evaluate(FILTER)
    assert ground["light"] > 700 and ground["dark"] < 100
    assert filters["light"] == ("none", "none")
    assert filters["dark"][0].startswith("invert(0.92)") and filters["dark"][1] == "none"


def test_the_list_of_runs_is_filtered_by_keyboard(front, reader):
    page = reader().open(front)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    assert page.locator(".skip").bounding_box()["y"] >= 0  # it shows itself
    rows = page.locator(".listing table.dataTable tbody tr")
    expect(rows).to_have_count(10)
    page.get_by_label("Search").focus()
    page.keyboard.type("relativistic")
    expect(rows).to_have_count(2)  # a run that never began is no row
