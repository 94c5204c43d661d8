"""How the tests look at a page."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

SEARCH_CANVASES = """
function canvases(root, found = []) {
  for (const each of root.querySelectorAll("*")) {
    if (each.localName == "canvas") found.push(each)
    if (each.shadowRoot) canvases(each.shadowRoot, found)
  }
  return found
}
function pixels(root, wanted) {  // how many pixels have about this colour
  let count = 0
  for (const canvas of canvases(root)) {
    if (!canvas.width || !canvas.height) continue
    const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", {willReadFrequently: true})
    copy.drawImage(canvas, 0, 0)
    const {data} = copy.getImageData(0, 0, canvas.width, canvas.height)
    for (let i = 0; i < data.length; i += 4)
      if (data[i + 3] > 200 && wanted.every((part, n) => Math.abs(part - data[i + n]) < 12)) count++
  }
  return count
}
"""


def newest(page: Page) -> float:
    """The time (epoch ms) of the newest point of the first source."""
    return float(page.evaluate("linemon.charts.sources[0].newest"))


def until_newer(page: Page, than: float) -> None:
    page.wait_for_function("(t) => linemon.charts.sources[0].newest > t", arg=than)


def view(page: Page) -> tuple[float, float]:
    """From and to (epoch ms) of what is in sight."""
    start, end = page.evaluate("[linemon.time.range.start, linemon.time.range.end]")
    return start, end


def drawn(page: Page, chart: int = 0, what: str = "lines") -> dict[str, list[Any]]:
    """What a chart draws: xs and ys of each of its lines, areas or dots."""
    found: dict[str, list[Any]] = page.evaluate(
        """([chart, what]) => {
          const {xs, ys, color} = Bokeh.documents
            .map((each) => each.get_model_by_name(`${what} of chart${chart}`)).find(Boolean).data
          const plain = (values) => typeof values == "number" ? values : [...values]
          return {xs: [...xs].map(plain), ys: [...ys].map(plain), color: [...color]}
        }""",
        [chart, what],
    )
    return found


def axis(page: Page, chart: int = 0) -> tuple[float, float]:
    start, end = page.evaluate(
        """(chart) => {
          const {start, end} = Bokeh.documents
            .map((each) => each.get_model_by_name(`chart${chart}`)).find(Boolean).y_range
          return [start, end]
        }""",
        chart,
    )
    return start, end


def line_pixels(page: Page, line: int = 0, chart: int = 0) -> int:
    """How much of a line is really on the canvas of its chart."""
    return int(
        page.evaluate(
            "([line, chart]) => {" + SEARCH_CANVASES + "const style = getComputedStyle(document.documentElement)\n"
            "const hex = style.getPropertyValue(`--line-${line}`).trim()\n"
            "return pixels(document.getElementById(`plot${chart}`), [1, 3, 5]"
            ".map((i) => parseInt(hex.slice(i, i + 2), 16)))}",
            [line, chart],
        )
    )


def middle(page: Page, chart: int = 0) -> tuple[float, float]:
    """A point in the middle of a chart, in pixels of the page."""
    box = page.locator(f"#plot{chart}").bounding_box()
    assert box
    return box["x"] + box["width"] * 0.6, box["y"] + box["height"] / 2


def drag(page: Page, start: tuple[float, float], dx: float) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(start[0] + dx, start[1], steps=4)
    page.mouse.up()
