"""What tasks say of sources: behind their lines, on the overview, in groups; what changed; and the same of before."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NASTY, Feed, Row, Served
from tests.browser.looking import axis, drawn, middle, view
from tests.running import eventually

Show = Callable[..., Page]
MIN, H = 60, 3600


def behind(page: Page, chart: int = 0, dash: str = "dotted") -> list[tuple[list[float], list[float]]]:
    """Times (epoch ms) and values of the lines of a chart that are drawn in this way, before all others."""
    found: list[tuple[list[float], list[float]]] = page.evaluate(
        """([chart, dash]) => {
          const {xs, ys, color, dash: dashes} = linemon.model(`lines of chart${chart}`).data
          const pale = [...color].map((each, i) => each.length == 9 && dashes[i] == dash)   // #rrggbbaa
          return [...xs].map((x, i) => [[...x], [...ys[i]]]).filter((_, i) => pale[i])
        }""",
        [chart, dash],
    )
    return found


def expected(column: str, middle: float, room: float = 10.0) -> Row:
    return {f"{column}.expected": middle, f"{column}.low": middle - room, f"{column}.high": middle + room}


@pytest.fixture
def serve(own_feed: Feed) -> Iterator[Callable[[], Served]]:
    """Serve what was fed so far."""
    served: list[Served] = []

    def serve() -> Served:
        served.append(Served(own_feed.config))
        return served[0]

    yield serve
    for each in served:
        each.stop()


# -- behind the lines


def test_what_is_expected_is_a_band_and_a_dotted_line(show: Show, own_feed: Feed, serve: Callable[[], Served]) -> None:
    """Of the column it belongs to, in the middle of its steps, past the newest row; a click takes it away."""
    own_feed.past("room1", {ago * MIN: {"t": 50.0, "other": 3.0} for ago in range(360, -1, -1)}, units=("°C", "bar"))
    now = time.time()
    own_feed.past("room1~normal", {ago * 15 * MIN: expected("t", 52.0) for ago in range(40, -41, -1)})
    page = show(serve().url + "?source=room1&window=6h")
    eventually(lambda: len(behind(page)) == 1, "what is expected")
    [(times, values)] = behind(page)
    assert set(values) == {52.0}
    assert min((at / 1000 - now) % (15 * MIN) for at in times) == pytest.approx(7.5 * MIN, abs=20)
    areas = drawn(page, what="areas")
    assert {round(y) for y in areas["ys"][0]} == {42, 62}, "the band is drawn first"
    newest = page.evaluate("linemon.charts.newest")
    eventually(lambda: view(page)[1] - newest == pytest.approx(1.2 * H * 1000, rel=0.05), "the future in sight")
    assert behind(page, 1) == [], "of another column nothing is expected"
    key = page.locator("#card0 .behind")
    expect(key).to_have_text("normal")
    page.mouse.move(*middle(page))
    expect(page.locator("#tip p")).to_have_text("normal: 52 °C (42 °C to 62 °C)")
    key.click()
    eventually(lambda: behind(page) == [], "that it is gone")
    page.reload()
    expect(key).to_have_attribute("aria-pressed", "false")


def test_of_a_time_that_was_forecast_twice_the_last_forecast_counts(
    show: Show, own_feed: Feed, serve: Callable[[], Served]
) -> None:
    own_feed.past("room1", {ago * MIN: {"value": 50.0} for ago in range(360, -1, -1)})
    at = time.time_ns() // (H * 10**9) * H * 10**9
    for run in range(-4, 1):
        for step in range(8):
            own_feed.write("room1~forecast", expected("value", 50.0 + run), at=at + (run + step) * H * 10**9)
    page = show(serve().url + "?source=room1&window=6h")
    eventually(lambda: len(behind(page)) == 1, "the forecast")
    [(times, values)] = behind(page)
    assert len(set(times)) == len(times)
    assert dict(zip([round((each - at / 1e6) / 3.6e6 - 0.5) for each in times], values, strict=True)) == {
        run: 50.0 + min(run, 0) for run in range(-4, 3)
    } | dict.fromkeys(range(3, len(times) - 4), 50.0)


def test_what_a_task_says_for_the_first_time_is_drawn_by_itself(
    show: Show, own_feed: Feed, serve: Callable[[], Served]
) -> None:
    own_feed.move()
    page = show(serve().url + "?plot=web1:temp.core_celsius")
    page.evaluate("window.mark = 1")
    page.wait_for_function("linemon.received > 2")
    assert behind(page) == []
    row = expected("temp.core_celsius", 50.0)
    own_feed.past("web1~mine", {ago * 15 * MIN: row for ago in range(8, -8, -1)})
    eventually(lambda: len(behind(page)) == 1, "what is expected")
    own_feed.past("web1~mine", {-9 * 15 * MIN: row | {"temp.core_celsius.expected": 51.0}})
    assert page.evaluate("window.mark") == 1
    assert axis(page)[0] < 50 < axis(page)[1]


def test_bands_that_could_not_be_told_apart_wait_for_a_choice(
    show: Show, own_feed: Feed, serve: Callable[[], Served]
) -> None:
    """And of what is stacked there is none: it does not stand where it is expected."""
    names = [f"cpu.{i}.busy_pct" for i in range(4)]
    modes = {"cpu.busy_pct": 30.0, "cpu.user_pct": 20.0, "cpu.system_pct": 10.0}
    own_feed.past("web1", {ago * MIN: modes | dict.fromkeys(names, 20.0) for ago in range(60, -1, -1)})
    said: Row = {}
    for name in (*names, *modes):
        said |= expected(name, 25.0)
    own_feed.past("web1~normal", {ago * 15 * MIN: said for ago in range(8, -8, -1)})
    page = show(serve().url + "?source=web1&window=1h")
    eventually(lambda: len(behind(page, 0)) == 1, "the band of the sum alone")
    expect(page.locator("#card1 .behind")).to_have_text("normal: choose a line")
    assert behind(page, 1) == []
    page.locator("#card1 .line").nth(2).click()
    eventually(lambda: len(behind(page, 1)) == 1, "the band of the chosen line")


def test_the_same_span_of_before(show: Show, own_feed: Feed, serve: Callable[[], Served]) -> None:
    """It is in the address, goes on as rows come, and stands where it would be seen."""
    own_feed.past("room1", {float(ago): {"value": 1000.0 - ago} for ago in range(1800, 0, -1)})
    served = serve()
    page = show(served.url + "?source=room1&window=1m&shift=10m")
    eventually(lambda: len(behind(page, dash="solid")) == 1, "the pale line")
    start, end = view(page)
    [(times, values)] = behind(page, dash="solid")
    mine = drawn(page)
    line = dict(zip((round(x / 1000) for x in mine["xs"][1]), mine["ys"][1], strict=True))
    pale = dict(zip((round(x / 1000) for x in times), values, strict=True))
    both = sorted(line.keys() & pale.keys())
    assert len(both) >= 59
    assert all(line[at] - pale[at] == pytest.approx(600) for at in both)
    assert times[0] <= start <= end <= times[-1] + 1500
    expect(page.locator("#card0 .behind")).to_have_text("10m before")
    for ago in range(0, -40, -1):  # the view moves on, and so does what lies behind it
        own_feed.write("room1", {"value": 1000.0 - ago}, at=time.time_ns() - ago * 10**9)
    eventually(lambda: behind(page, dash="solid")[0][0][-1] >= view(page)[1] - 1500, "what lies behind the new rows")
    page.click("#behind summary")
    page.get_by_role("button", name="a week before").click()
    expect(page.locator("#behind summary")).to_have_text("7d before")
    page.wait_for_function("linemon.received > 0")
    assert "shift=7d" in page.url
    page.click("#behind summary")
    page.get_by_role("button", name="a week before").click()
    expect(page.locator("#behind summary")).to_have_text("Before")
    assert "shift" not in page.url


@pytest.mark.parametrize("said", ["banana", "-1h", "0s", "200y"])
def test_a_span_that_is_none_is_told(show: Show, served: Served, said: str) -> None:
    page = show(served.url + f"?source=web1&shift={said}")
    expect(page.locator("main .trouble:not([hidden])")).to_contain_text(
        f"shift={said} is no span: expected one such as 7d"
    )
    assert behind(page, dash="solid") == []


# -- on the overview


def scores(own_feed: Feed, source: str, told: dict[int, Row], count: int, until: int = 0) -> None:
    """A row a minute of two columns, of which some were told so many minutes ago."""
    calm = {"cpu.busy_pct.score": 0.1, "mem.used_pct.score": 0.2, "strange_columns": float(count)}
    own_feed.past(f"{source}~strange", {ago * MIN: calm | told.get(ago, {}) for ago in range(20, until - 1, -1)})


def test_outputs_are_no_hosts_but_are_found(show: Show, own_feed: Feed, serve: Callable[[], Served]) -> None:
    own_feed.write("web1", {"cpu.busy_pct": 10.0})
    own_feed.write("lone~value", {"value": 1.0})  # there is no source `lone`
    own_feed.past("web1~normal", {ago: expected("cpu.busy_pct", 10.0) for ago in range(0, -1200, -60)})
    page = show(serve().url)
    expect(page.locator("#count")).to_have_text("2 sources")
    assert page.locator(".sources tbody a").all_inner_texts() == ["web1", "lone~value"]
    expect(page.locator("#strange")).to_be_hidden()
    page.fill("#find", "web1~")
    page.get_by_role("option", name="web1~normal source").click()
    expect(page.locator("h1")).to_have_text("web1~normal")
    expect(page.locator("#status")).to_have_text("live")
    expect(page.locator("#age")).to_have_text(re.compile(r"^newest row \d+ s ago$"))  # none of them counts as ahead
    eventually(lambda: drawn(page)["xs"] and drawn(page)["xs"][0][-1] > 1000 * (time.time() + 900), "what is to come")


def test_the_strangest_sources_come_first_with_their_columns(
    show: Show, own_feed: Feed, serve: Callable[[], Served]
) -> None:
    row = {"cpu.busy_pct": 10.0, "mem.used_pct": 20.0}
    for name in ("web1", "web2", "web3", "web4"):
        own_feed.past(name, {ago * MIN: row for ago in range(60, -1, -1)})
    scores(own_feed, "web1", {3: {"cpu.busy_pct.score": 9.0}}, 1)
    scores(own_feed, "web2", {5: {"mem.used_pct.score": 2.0}, 4: {"cpu.busy_pct.score": 1.5}}, 2)
    scores(own_feed, "web3", {15: {"mem.used_pct.score": 80.0}}, 0)  # too long ago
    scores(own_feed, "web4", {2: {"cpu.busy_pct.score": float("nan")}}, 0)
    page = show(serve().url)
    items = page.locator("#strange li")
    expect(items).to_have_text(
        [re.compile("^web2mem.used_pct.*cpu.busy_pct"), re.compile("^web1cpu.busy_pct 3 min ago$")]
    )
    own_feed.past("web3~strange", {0: {"cpu.busy_pct.score": 3.0, "mem.used_pct.score": 5.0, "strange_columns": 3.0}})
    expect(items.first).to_have_text(re.compile("^web3mem.used_pct.*cpu.busy_pct.*and 1 more$"))
    items.first.locator("a", has_text="mem.used_pct").click()
    expect(page.locator("figcaption b")).to_have_text("mem.used_pct")
    assert "plot=web3%3Amem.used_pct" in page.url


def test_the_overview_is_calm_while_nothing_is_strange(show: Show, own_feed: Feed, serve: Callable[[], Served]) -> None:
    """And it says so where nobody looks any more."""
    own_feed.past("web1", {0: {"cpu.busy_pct": 1.0, "mem.used_pct": 1.0}})
    scores(own_feed, "web1", {}, 0)
    served = serve()
    page = show(served.url)
    expect(page.locator("#strange p")).to_have_text("Nothing in one source.")
    assert page.locator("#strange li").count() == 0
    page.close()


def test_scores_that_are_old_are_not_called_calm(show: Show, own_feed: Feed, serve: Callable[[], Served]) -> None:
    own_feed.past("web1", {0: {"cpu.busy_pct": 1.0, "mem.used_pct": 1.0}})
    scores(own_feed, "web1", {}, 0, until=7)
    page = show(serve().url)
    expect(page.locator("#strange p")).to_contain_text(re.compile(r"^No scores since \d\d:\d\d:\d\d: the task"))


# -- what changed


def with_a_change(own_feed: Feed) -> None:
    """A minute's rows of three hosts; the memory of the second is other for the last five minutes."""
    for host in (1, 2, 3):
        rows = {
            float(ago): {
                "cpu.busy_pct": 10.0 + (ago * 7 + host) % 5,
                "mem.used_pct": 40.0 + (ago * 3) % 2 + (20.0 if host == 2 and ago < 300 else 0.0),
            }
            for ago in range(1800, 0, -2)
        }
        own_feed.past(f"web{host}", rows)
        own_feed.past(f"web{host}~normal", {float(ago): {"x": float(ago < 300)} for ago in range(1800, 0, -2)})


def test_what_changed_in_a_span_of_this_host_or_of_all(show: Show, own_feed: Feed, serve: Callable[[], Served]) -> None:
    """Ranked, each with a link to its chart around that span, which is marked in the charts."""
    with_a_change(own_feed)
    page = show(serve().url + "?source=web1")
    page.wait_for_function("linemon.charts.sources[0]?.length > 100")
    page.evaluate("linemon.time.go(linemon.charts.newest - 295e3, linemon.charts.newest)")
    page.click("#what-changed")
    rows = page.locator("#changed tbody tr")
    expect(page.locator("#changed-said")).to_have_text("Nothing: scores up to 3 are what chance brings.")
    expect(rows).to_have_count(2)
    page.get_by_role("button", name="all sources").click()
    expect(rows).to_have_count(6)
    expect(rows.first.locator("th")).to_have_text("web2 : mem.used_pct")
    expect(rows.first.locator("td").nth(1)).to_have_text("40 % → 60 %")
    assert float(rows.first.locator("td").first.inner_text()) > 10
    expect(page.locator("#changed tr.chance")).to_have_count(5)
    for button in ("web1", "all sources") * 4:  # as fast as one can
        page.get_by_role("button", name=button, exact=True).click()
    expect(page.locator("#changed-said")).not_to_have_text("looking…")
    expect(rows.first.locator("th")).to_have_text("web2 : mem.used_pct")
    page.evaluate("linemon.time.zoom(3)")
    start, end = page.evaluate("linemon.model('areas of chart0').data.xs.at(-1)")[:2]
    assert end - start == pytest.approx(295e3, abs=3000)
    rows.first.locator("a").click()
    expect(page.locator("h1")).to_have_text("Compare")
    page.wait_for_function("linemon.charts.sources[0]?.length > 10")
    assert view(page)[0] < start < end < view(page)[1] + 1


def test_what_changed_says_where_there_is_nothing_before(
    show: Show, own_feed: Feed, serve: Callable[[], Served]
) -> None:
    own_feed.past("room1", {float(ago): {"value": 1.0} for ago in range(100, 0, -1)})
    page = show(serve().url + "?source=room1", wait=None)
    page.wait_for_function("linemon.charts.sources[0]?.length > 50")
    page.keyboard.press("c")
    expect(page.locator("#changed-said")).to_contain_text(
        "There is nothing to compare with: a column needs three values"
    )
    page.get_by_role("button", name="Close what changed").click()
    expect(page.locator("#changed")).to_be_hidden()


# -- groups


def member(column: str, group: int, r: float, exemplar: bool = False) -> Row:
    return {f"{column}.group": float(group), f"{column}.r": r, f"{column}.exemplar": float(exemplar)}


def test_groups_are_charts_of_their_exemplars_with_their_members(
    show: Show, own_feed: Feed, serve: Callable[[], Served]
) -> None:
    """Of the newest run; a new one is shown by itself; a member links to its source, all of them to one chart."""
    row = {"cpu": 10.0, "net": 20.0, "fan": 5.0}
    for name in ("web1", "web2"):
        own_feed.past(name, {ago * MIN: row for ago in range(60, -1, -1)})
    served = serve()
    page = show(served.url + "?groups=1", wait=None)
    expect(page.locator("#waiting")).to_contain_text("No groups are known")
    own_feed.past("web3~groups", {2 * H: member("cpu", 0, 0.9, exemplar=True)})  # of an earlier run
    first = member("cpu", 0, 0.7) | member("net", 0, 0.9, exemplar=True) | member("fan", 1, 0.8, exemplar=True)
    ran = time.time_ns()
    own_feed.write("web1~groups", first, at=ran)
    own_feed.write(
        "web2~groups", member("cpu", 0, 0.8) | member("fan", 1, 0.8) | member("net", 2, float("nan")), at=ran
    )
    expect(page.locator("main")).to_contain_text("Correlation is not causality")
    expect(page.locator("figcaption b")).to_have_text(["3 columns", "2 columns"])
    expect(page.locator("#card0 .line span")).to_have_text("web1 net")
    expect(page.locator("#card0 .members li")).to_have_text(["web1 net 0.90", "web2 cpu 0.80", "web1 cpu 0.70"])
    page.locator("#card0 figcaption a").click()
    expect(page.locator("h1")).to_have_text("Compare")
    expect(page.locator(".chips li")).to_have_count(3)


def test_names_are_text_wherever_tasks_speak_of_them(show: Show, own_feed: Feed, serve: Callable[[], Served]) -> None:
    """Of sources, columns and tasks: in groups, on the overview, in legends, in what changed."""
    ran = time.time_ns()
    for name in NASTY:
        own_feed.past(name, {float(ago): {name: 5.0 + ago % 3, "b": 3.0} for ago in range(1500, 0, -1)})
        own_feed.past(f"{name}~{name[:9]}", {ago * 15 * MIN: expected(name, 6.0) for ago in range(4, -4, -1)})
        own_feed.past(f"{name}~strange", {0: {f"{name}.score": 2.0, "strange_columns": 1.0}})
        own_feed.write(f"{name}~groups", member(name, 0, 0.5, name == NASTY[0]) | member("b", 0, 0.4), at=ran)
    served = serve()
    for address, place in ("", "#strange li"), ("?groups=1", "#card0 .members li"):
        page = show(served.url + address)
        for name in NASTY:
            expect(page.locator(place, has_text=name).first).to_be_visible()
        assert page.locator("img").count() == 0
    page.locator("#card0 .members a").first.click()
    expect(page.locator("h1")).to_have_text(NASTY[0])
    expect(page.locator("#card0 .behind").first).to_have_text(NASTY[0][:9])
    page.click("#what-changed")
    expect(page.locator("#changed tbody th").first).to_be_visible()
    assert page.locator("img").count() == 0
