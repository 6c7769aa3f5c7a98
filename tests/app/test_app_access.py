"""Whether everybody can use the page: keyboards, large pointers, few colours, little motion. Measured in a browser."""

import io

import numpy as np
import pytest
from PIL import Image

from served import Page, Served
from tiny import save_model

pytestmark = pytest.mark.slow

NAMES = """() => [...document.querySelectorAll('button.reset-button')]
  .filter((node) => node.offsetParent).map((node) => node.getAttribute('aria-label'))"""
SMALL = """() => [...document.querySelectorAll('button, input, a[href], [role=tab], [tabindex="0"]')]
  .filter((node) => node.offsetParent && getComputedStyle(node).visibility !== 'hidden' && node.type !== 'file')
  .filter((node) => node.tabIndex >= 0)
  .map((node) => (['radio', 'checkbox'].includes(node.type) && node.closest('label')) || node)
  .map((node) => [node.getBoundingClientRect(), node.outerHTML.slice(0, 90)])
  .filter(([box]) => box.width > 0 && (box.width < 23.99 || box.height < 23.99))
  .map(([box, text]) => `${box.width.toFixed(1)}×${box.height.toFixed(1)} ${text}`)"""
UNMARKED = """() => [...document.querySelectorAll('button, input')]
  .filter((node) => node.offsetParent && getComputedStyle(node).visibility !== 'hidden' && node.type !== 'file')
  .filter((node) => {
    const style = getComputedStyle(node);
    const lined = parseFloat(style.borderTopWidth) > 0 && style.borderTopStyle !== 'none';
    const native = ['radio', 'checkbox', 'range'].includes(node.type);
    return !lined && !native && style.outlineStyle === 'none' && !node.textContent.trim();
  }).map((node) => node.outerHTML.slice(0, 120))"""
LOOK = """(node) => {
  const style = getComputedStyle(node);
  return [style.outlineStyle, style.outlineWidth, style.outlineColor, style.boxShadow].join(' ');
}"""
# contrast of what is drawn with a colour (of a given opacity) against the nearest opaque background
RATIO = """([name, property, pseudo]) => {
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = (colour) => {
    const [r, g, b] = colour.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const node = document.querySelector(name);
  let behind = [255, 255, 255];
  for (let at = node.parentElement; at; at = at.parentElement) {
    const colour = parse(getComputedStyle(at).backgroundColor);
    if (colour.length === 3 || colour[3] === 1) { behind = colour.slice(0, 3); break; }
  }
  const style = getComputedStyle(node, pseudo || undefined);
  const colour = parse(style[property]);
  const alpha = (colour.length > 3 ? colour[3] : 1) * parseFloat(style.opacity);
  const mixed = behind.map((under, i) => alpha * colour[i] + (1 - alpha) * under);
  const [a, b] = [light(mixed), light(behind)].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
}"""
LINES = (
    (".sv-chart .each", "stroke", ""),
    (".sv-chart .chosen", "stroke", ""),
    (".sv-chart .mean", "stroke", ""),
)


def contrast(page, selector: str) -> float:
    """Of what is in the middle row of an element, near its right end, to what lies above it."""
    pixels = np.asarray(Image.open(io.BytesIO(page.locator(selector).first.screenshot())).convert("RGB"))
    place = int(pixels.shape[1] * 0.85)
    linear = pixels[[1, pixels.shape[0] // 2], place] / 255
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
    low, high = sorted(linear @ [0.2126, 0.7152, 0.0722])
    return (high + 0.05) / (low + 0.05)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    served = Served(save_model(tmp_path_factory.mktemp("access") / "tiny"))
    yield served
    served.stop()


@pytest.fixture
def opened(browser, server):
    pages = []

    def open_page(**options):
        pages.append(Page(browser, server.url, **options))
        pages[-1].page.wait_for_timeout(500)
        return pages[-1]

    yield open_page
    for page in pages:
        page.context.close()


@pytest.mark.parametrize("width", [390, 1280, 1920])
def test_nothing_jumps_while_it_loads(opened, width):
    page = opened(viewport={"width": width, "height": 900})
    assert sum(page.page.evaluate("window.shifted")) <= 0.05


@pytest.mark.parametrize("part", [".sv-head", ".sv-go", ".sv-controls [type=range]"])
def test_nothing_is_shown_before_all_is_there(opened, part):
    page = opened().page
    tabs = page.locator(".sv-tabs")
    assert tabs.is_visible()
    page.evaluate(f"""() => {{
      window.away = [...document.querySelectorAll('{part}')].map((node) => [node, new Comment()]);
      away.forEach(([node, gap]) => node.replaceWith(gap));
      document.documentElement.classList.remove('sv-ready');
    }}""")
    page.wait_for_timeout(100)
    assert not tabs.is_visible()
    page.evaluate("away.forEach(([node, gap]) => gap.replaceWith(node))")
    page.wait_for_timeout(100)
    assert tabs.is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_focus_targets_names_and_lines(opened, scheme):
    page = opened(color_scheme=scheme).page
    names = page.evaluate(NAMES)
    assert len(names) == len(set(names)) == 4
    assert all(name.startswith("Reset ") for name in names)
    assert page.evaluate(SMALL) == []
    for label in ("Seed of the motion", "Seed: another one"):
        field = page.get_by_label(label).first
        before = field.evaluate(LOOK)
        field.focus()
        after = field.evaluate(LOOK)
        assert after != before
        assert after.startswith("solid 2px")
    for line in LINES:
        assert page.evaluate(RATIO, list(line)) >= 3, line
    assert contrast(page, ".sv-range") >= 3


def test_controls_are_there_in_forced_colours(opened):
    page = opened(forced_colors="active").page
    assert page.evaluate("matchMedia('(forced-colors: active)').matches")
    assert page.evaluate(UNMARKED) == []
    for name in (".sv-play", ".sv-go", ".sv-stop", ".sv-controls input[type=number]", ".reset-button"):
        style = page.locator(f"{name}:visible").first.evaluate(
            "(node) => [getComputedStyle(node).borderTopStyle, getComputedStyle(node).borderTopWidth]"
        )
        assert style == ["solid", "1px"], name
    for slider in (".sv-range", ".sv-controls input[type=range]"):
        assert contrast(page, slider) >= 3
    chosen, other = (page.locator(".sv-kinds label:visible").nth(n).screenshot() for n in (0, 1))
    dark = [np.asarray(Image.open(io.BytesIO(shot)).convert("L"))[:, :28] < 128 for shot in (chosen, other)]
    assert dark[0].sum() > 1.2 * dark[1].sum()  # which kind of clip is chosen can be seen


def test_without_motion_a_predicted_frame_is_shown_and_enter_draws(opened):
    page = opened()
    assert page.frame() == 4  # the first that is predicted
    assert page.page.get_by_role("button", name="Play").first.is_visible()
    for tile in (0, 1):
        assert len(set(page.pixels(tile))) > 2  # not of one colour
    field = page.page.get_by_label("Seed of the motion").first
    field.fill("5")
    field.press("Enter")
    page.page.wait_for_function("document.querySelector('.sv-title').textContent === 'moving-mnist-5'")


def test_what_can_be_pressed_keeps_its_name_while_it_plays(opened):
    page = opened(reduced_motion="no-preference").page
    page.wait_for_function("document.querySelector('.sv-play').getAttribute('aria-label') === 'Pause'")
    watched = """() => new Promise((done) => {
      const seen = new Set(), frames = new Set(), button = document.querySelector('.sv-button.strong');
      const timer = setInterval(() => {
        seen.add(`${button.textContent} ${button.disabled} ${button.offsetWidth}`);
        frames.add(document.querySelector('.sv-where b').textContent);
        if (frames.size > 4) { clearInterval(timer); done([...seen]); }
      }, 20);
    })"""
    (seen,) = page.evaluate(watched)
    assert seen.startswith("More like future 1 after this frame false")
