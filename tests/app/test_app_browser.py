"""The web page in a real browser: what people do with it, on a desk and on a phone, two of them at once."""

import json
import time

import numpy as np
import pytest
from PIL import Image

from served import Page, Served
from tiny import movie, save_driven, save_model

pytestmark = pytest.mark.slow

CONTRAST = """() => {
  const light = (colour) => {
    const [r, g, b] = colour.map((c) => c / 255).map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = parse(getComputedStyle(node).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const low = [];
  for (const node of document.querySelectorAll('button, label, p, span, h1, b, li, a')) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.offsetParent || node.disabled || node.closest('[disabled]')) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) low.push(`${node.textContent.trim().slice(0, 40)}: ${ratio.toFixed(2)}`);
  }
  return low;
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    model = save_model(tmp_path_factory.mktemp("browser") / "tiny", base_channels=16)
    served = Served(model, folder=tmp_path_factory.mktemp("temporary"))
    yield served
    assert served.stop() == 130


@pytest.fixture
def page(browser, server):
    opened = Page(browser, server.url)
    yield opened
    opened.context.close()
    assert opened.errors == []
    assert [url for url in opened.asked if not url.startswith((server.url, "data:", "blob:"))] == []


def test_it_opens_with_an_example_and_nothing_jumps(page):
    page.page.wait_for_timeout(500)
    page.number("Futures", 5)
    page.press("Draw futures")
    page.wait_for("5 futures of")
    page.page.wait_for_timeout(800)
    assert sum(page.page.evaluate("window.shifted")) <= 0.01  # with what moved while it loaded
    assert page.page.locator(".sv-tile").count() == 6


def test_scrubbing_playing_and_choosing_with_the_keyboard_alone(page):
    page.page.locator(".sv-range").first.focus()
    page.page.keyboard.press("Home")
    first = page.pixels(1)
    for _ in range(5):
        page.page.keyboard.press("ArrowRight")
    assert page.frame() == 6
    assert page.pixels(1) != first
    cursor = page.page.locator(".sv-cursor").first.get_attribute("style")
    page.page.keyboard.press("End")
    assert page.page.locator(".sv-cursor").first.get_attribute("style") != cursor
    assert (
        page.page.locator(".sv-range").first.get_attribute("aria-valuetext") == f"frame {page.frame()} of 7 predicted"
    )
    page.page.keyboard.press("Home")
    page.page.keyboard.press("Space")
    page.page.wait_for_function("document.querySelector('.sv-where b').textContent !== '1'")
    page.page.keyboard.press("Space")
    stopped = page.frame()
    page.page.wait_for_timeout(600)
    assert page.frame() == stopped
    tile = page.page.locator("button.sv-tile").nth(2)
    tile.focus()
    page.page.keyboard.press("Enter")
    assert tile.get_attribute("aria-pressed") == "true"
    assert "future 3" in page.page.locator(".sv-button.strong").first.inner_text()


def test_a_branch_follows_to_the_frame_and_leads_back(page):
    page.page.locator(".sv-range").first.focus()
    page.page.keyboard.press("Home")
    for _ in range(4):
        page.page.keyboard.press("ArrowRight")
    page.page.locator("button.sv-tile").nth(3).click()
    followed = page.pixels(4)
    page.press("More like future 4 after frame 5")
    page.wait_for("8 futures that follow future 4 to frame 5")
    assert page.frame() == 5
    assert all(page.pixels(tile) == followed for tile in range(1, 9))
    page.page.locator(".sv-range").first.press("ArrowRight")
    assert len({tuple(page.pixels(tile)) for tile in range(1, 9)}) == 8
    page.press("All futures")
    page.wait_for("8 futures of 4 frames")


def test_heat_is_laid_over_futures_alone_and_taken_off_again(page):
    page.page.locator(".sv-range").first.focus()
    page.page.keyboard.press("End")
    plain = [page.pixels(tile) for tile in range(9)]
    button = page.page.get_by_role("button", name="Where futures differ").first
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    heated = [page.pixels(tile) for tile in range(9)]
    assert heated[0] == plain[0]  # of the truth
    assert all(new != old for new, old in zip(heated[1:], plain[1:], strict=True))
    page.page.keyboard.press("Enter")
    assert [page.pixels(tile) for tile in range(9)] == plain


def test_downloads_arrive(page, tmp_path):
    for kind in ("gif", "mp4", "npz"):
        with page.page.expect_download(timeout=60_000) as download:
            page.press(f"Download {kind}")
        assert download.value.suggested_filename == f"futures.{kind}"
        download.value.save_as(tmp_path / f"futures.{kind}")
    assert np.load(tmp_path / "futures.npz")["futures"].shape == (8, 4, 1, 32, 32)


def test_a_file_asked_for_in_the_moment_when_another_arrives_comes_too(page):
    page.page.evaluate("""() => {
      const arrive = HTMLAnchorElement.prototype.click;
      HTMLAnchorElement.prototype.click = function () {
        HTMLAnchorElement.prototype.click = arrive;
        arrive.call(this);
        document.querySelector('[aria-label="Download npz"]').click();
      };
    }""")
    names = []
    page.page.on("download", lambda download: names.append(download.suggested_filename))
    last = page.page.expect_event("download", lambda file: file.suggested_filename == "futures.npz", timeout=30_000)
    with last:
        page.press("Download gif")
    assert names == ["futures.gif", "futures.npz"]


def test_good_and_bad_files(page, tmp_path):
    page.upload(movie(tmp_path / "movie.mp4", frames=30))
    page.press("Draw futures")
    page.wait_for("8 futures of 4 frames")
    (tmp_path / "page.mp4").write_text("<!doctype html>")
    page.upload(tmp_path / "page.mp4")
    page.press("Draw futures")
    page.wait_for("clip 'page.mp4' cannot be decoded as video")
    assert page.page.locator(".sv-say[role=alert]").count() == 1
    assert page.page.locator(".sv-player.full .sv-tile").count() == 9  # the last good futures stay


def test_a_drawn_digit_moves(page):
    page.page.get_by_label("Drawing").first.check()
    page.press("Draw futures")
    page.wait_for("Nothing is drawn yet")
    box = page.page.locator(".sv-sketch canvas").first.bounding_box()
    page.page.mouse.move(box["x"] + 40, box["y"] + 30)
    page.page.mouse.down()
    for x, y in ((100, 30), (60, 120)):
        page.page.mouse.move(box["x"] + x, box["y"] + y, steps=6)
    page.page.mouse.up()
    page.press("Draw futures")
    page.wait_for("8 futures of 4 frames")
    assert page.page.locator(".sv-title").first.inner_text().startswith("drawing-")


def test_work_can_be_stopped_and_the_page_goes_on(page):
    page.number("Futures", 16)
    page.number("Predicted frames", 100)
    page.press("Draw futures")
    page.wait_for("Drawing futures")
    began = time.monotonic()
    page.press("Stop")
    page.wait_for("Stopped.")
    assert time.monotonic() - began < 5
    page.number("Futures", 3)
    page.number("Predicted frames", 4)
    page.press("Draw futures")
    page.wait_for("3 futures of 4 frames")  # the work that was stopped is not in the way


def test_two_people_at_once(page, browser, server):
    other = Page(browser, server.url)
    page.number("Futures", 3)
    other.number("Futures", 5)
    page.press("Draw futures")
    other.press("Draw futures")
    page.wait_for("3 futures of 4 frames")
    other.wait_for("5 futures of 4 frames")
    assert page.page.locator(".sv-tile").count() == 4
    assert other.page.locator(".sv-tile").count() == 6
    other.context.close()


def test_who_waits_can_stop_waiting_and_is_not_in_the_way(browser, tmp_path):
    server = Served(save_model(tmp_path / "wide", base_channels=128), folder=tmp_path)  # at work for seconds
    page, other = Page(browser, server.url), Page(browser, server.url)
    page.number("Futures", 16)
    page.number("Predicted frames", 100)
    page.press("Draw futures")
    page.wait_for("Drawing futures")
    other.press("Draw futures")
    assert other.said() == "Waiting for its turn"
    other.press("Stop")
    other.wait_for("Stopped.")
    page.wait_for("16 futures of 100 frames")
    assert other.said() == "Stopped."
    other.press("Draw futures")
    other.wait_for("8 futures of 4 frames")
    for opened in (page, other):
        opened.context.close()
        assert opened.errors == []
    assert server.stop() == 130


def test_surprise_along_a_video(page):
    page.page.get_by_role("tab", name="Surprise").click()
    page.press("Watch")
    page.wait_for("100 frames")
    player = page.page.locator(".sv-player").nth(1)
    assert player.locator(".sv-chart svg").count() == 2
    assert "of 100" in player.locator(".sv-where").inner_text()


class World:
    """The tab to act in, as somebody sees it."""

    def __init__(self, browser, url: str, **options):
        self.opened = Page(browser, url, **options)
        self.page = self.opened.page
        self.page.get_by_role("tab", name="Play").click()
        shown = [".sv-world .sv-where b", ".sv-world [aria-label=Play]"]  # the given frames were played to the end
        self.page.wait_for_function(f"{shown}.every((part) => document.querySelector(part))")
        self.pad = self.page.locator(".sv-pad")

    def at(self) -> int:
        return int(self.page.locator(".sv-world .sv-where b").inner_text())

    def wait_for(self, frame: int) -> None:
        self.page.wait_for_function(f"document.querySelector('.sv-world .sv-where b').textContent === '{frame}'")

    def pixels(self, which: int = 0) -> str:
        return self.page.locator(".sv-pair canvas").nth(which).evaluate("node => node.toDataURL()")

    def end(self) -> None:
        self.opened.context.close()
        assert self.opened.errors == []


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    served = Served(save_driven(tmp_path_factory.mktemp("played")), folder=tmp_path_factory.mktemp("temporary"))
    yield served
    assert served.stop() == 130


@pytest.mark.parametrize("viewport", [{"width": 1280, "height": 900}, {"width": 390, "height": 844}])
def test_a_world_is_driven_by_keys_and_by_a_pointer(browser, played, viewport):
    world = World(browser, played.url, viewport=viewport)
    assert world.at() == 3  # the last of the given frames
    world.pad.focus()
    for frame in range(4, 8):
        world.page.keyboard.press("ArrowRight")
        world.wait_for(frame)
    assert "ms a frame" in world.page.locator(".sv-speed").inner_text()
    assert world.page.locator(".sv-pair .sv-tile:visible").count() == 1
    before = world.pixels()
    box = world.pad.bounding_box()
    world.page.mouse.move(box["x"] + 10, box["y"] + 10)
    world.page.mouse.down()
    world.page.wait_for_function("Number(document.querySelector('.sv-world .sv-where b').textContent) > 10")
    world.page.mouse.up()
    world.page.wait_for_timeout(300)
    stopped = world.at()
    world.page.wait_for_timeout(400)
    assert world.at() == stopped
    assert world.pixels() != before
    assert world.page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]
    world.end()


def test_going_back_and_doing_something_else_shows_both_futures(browser, played, tmp_path):
    world = World(browser, played.url)
    world.pad.focus()
    for frame in range(4, 9):
        world.page.keyboard.press("ArrowRight")
        world.wait_for(frame)
    world.page.locator(".sv-world .sv-range").focus()
    for _ in range(3):
        world.page.keyboard.press("ArrowLeft")
    assert world.at() == 5
    world.pad.focus()
    world.page.keyboard.press("ArrowUp")
    world.wait_for(6)
    assert world.page.locator(".sv-pair .sv-tile:visible").count() == 2
    assert world.pixels(0) != world.pixels(1)
    assert world.page.locator(".sv-world .sv-chart polyline").count() == 2
    with world.page.expect_download(timeout=60_000) as download:
        world.page.locator(".sv-world").get_by_label("Download gif").click()
    download.value.save_as(tmp_path / "play.gif")
    with Image.open(tmp_path / "play.gif") as made:
        assert made.n_frames == 8  # as the longer of both
    plain = world.pixels()
    world.page.get_by_role("button", name="Show σ").click()
    assert world.pixels() != plain
    world.page.wait_for_timeout(500)  # colours change slowly
    assert world.page.evaluate(CONTRAST) == []
    world.page.get_by_role("button", name="Start again").click()
    world.page.wait_for_function("document.querySelectorAll('.sv-pair .sv-tile[hidden]').length === 1")
    world.end()


def test_a_world_that_cannot_be_reached_is_said(browser, played):
    world = World(browser, played.url)
    world.page.route("**/play/step", lambda route: route.abort())
    world.pad.focus()
    world.page.keyboard.press("ArrowRight")
    world.page.wait_for_function("document.querySelector('.sv-foot [role=status]').textContent.includes('broke')")
    world.page.unroute("**/play/step")
    world.page.keyboard.press("ArrowRight")
    world.wait_for(4)
    world.end()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(browser, server, scheme):
    opened = Page(browser, server.url, color_scheme=scheme)
    opened.page.wait_for_timeout(800)
    assert opened.page.evaluate(CONTRAST) == []
    opened.context.close()


def test_a_phone_gets_one_column(browser, server):
    opened = Page(browser, server.url, viewport={"width": 390, "height": 844})
    opened.page.wait_for_timeout(500)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390
    player, button = (opened.page.locator(name).first.bounding_box() for name in (".sv-player", ".sv-buttons"))
    assert abs(player["x"] - button["x"]) < 2
    assert player["width"] > 350
    opened.context.close()


FAILURES = {
    "the network fails": ("**/queue/join*", lambda route: route.abort()),
    "no JSON comes": ("**/queue/join*", lambda route: route.fulfill(status=502, body="<html>Bad gateway</html>")),
    "a proxy refuses": ("**/queue/join*", lambda route: route.fulfill(status=429, body="{}")),
    "the stream fails": ("**/queue/data*", lambda route: route.abort()),
    "the stream is refused": ("**/queue/data*", lambda route: route.fulfill(status=504, body="late")),
    "the stream is empty": (
        "**/queue/data*",
        lambda route: route.fulfill(status=200, headers={"content-type": "text/event-stream"}, body=""),
    ),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_whatever_fails_is_said_and_the_page_goes_on(page, failure):
    pattern, act = FAILURES[failure]
    page.page.route(pattern, act)
    page.press("Draw futures")
    page.wait_for("the connection to the server broke")
    page.page.unroute(pattern)
    page.number("Futures", 3)
    page.press("Draw futures")
    page.wait_for("3 futures of 4 frames")


@pytest.mark.parametrize("seed", ["-3", "2147483648", ""])
def test_a_seed_that_is_none_is_said_and_the_page_goes_on(page, seed):
    field = page.page.get_by_label("Seed: another one").first
    for _ in range(2):  # the same sentence twice
        field.fill(seed)
        page.press("Draw futures")
        page.wait_for("The seed must be a whole number from 0 to 2,147,483,647")
    field.fill("7")
    field.press("Enter")  # draws, too
    page.wait_for("8 futures of 4 frames")


@pytest.mark.parametrize("pause", [0, 300, 1200])
def test_stop_and_draw_soon_after_it(page, pause):
    page.number("Futures", 16)
    page.number("Predicted frames", 100)
    page.press("Draw futures")
    page.wait_for("Drawing futures")
    page.press("Stop")
    page.page.wait_for_timeout(pause)
    page.press("Draw futures")
    while not page.said().startswith("16 futures of 100 frames"):
        assert "not work" not in page.said()
        assert "Stopped" not in page.said()
        page.page.wait_for_timeout(50)


def test_after_a_restart_the_page_says_so_and_gives_nobody_elses_futures(browser, tmp_path):
    model = save_model(tmp_path / "tiny", base_channels=16)
    served = Served(model)
    opened = Page(browser, served.url)
    opened.page.get_by_label("Seed of the motion").first.fill("77")
    opened.press("Draw futures")
    opened.page.wait_for_function("document.querySelector('.sv-title').textContent === 'moving-mnist-77'")
    served.stop()
    again = Served(model, port=served.port)
    try:
        for name in ("Download npz", "More like future 1 after frame 4"):
            opened.press(name)
            opened.wait_for("Draw again")
        assert opened.page.locator(".sv-title").first.inner_text() == "moving-mnist-77"
        opened.press("Draw futures")
        opened.wait_for("8 futures of 4 frames")
        with opened.page.expect_download(timeout=60_000):
            opened.press("Download npz")
    finally:
        again.stop()
    opened.context.close()


def test_a_full_queue_is_said(page, server):  # the last test: what waits is not stopped
    body = json.dumps({"data": [None, 0, [], 3, 100, 16, 0, 1, []]}).encode()
    codes = [server.get("/gradio_api/call/futures", body, **{"Content-Type": "application/json"})[0] for _ in range(40)]
    assert codes[0] == 200
    assert codes[-1] != 200
    page.press("Draw futures")
    page.wait_for("too many people are waiting")
    assert page.page.get_by_role("button", name="Draw futures").is_enabled()
