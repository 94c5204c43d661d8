"use strict"
// What lies behind the lines: what tasks expected of them, as a band and a dotted line, and the same span of before.
linemon.behind = (() => {
  const {$, all, text, make, model, colour, format, Points} = linemon
  const MOST = 3                  // lines of a chart with a band each
  const AHEAD = 0.2               // of a live view: so far it shows what is expected to come
  const off = new Set(JSON.parse(sessionStorage.getItem("linemon.behind") ?? "[]"))
  let parts = []

  const key = ({name, isBefore}) => isBefore ? "before" : `~${name}`
  const label = ({name, isBefore}) => isBefore ? `${linemon.about.shift} before` : name
  const title = ({name, isBefore}) => isBefore ? "The same span of before, pale" : `What the task “${name}” expects: dotted; band: from low to high`
  function hear() {
    const {parts: said, packed} = JSON.parse(model("answers").behind), {take, floats} = linemon.unpack(packed)
    parts = said.map(({name, is_before, columns}) => {
      const width = (is_before ? 1 : 3) * columns.length, points = new Points(width), block = linemon.charts.block(take, floats, width)
      points.clear(block.bucket, Math.max(1, block.times.length))
      points.add(block)
      return {name, isBefore: is_before, columns, points, gaps: columns.map((_, i) => points.gap(i))}
    })
    linemon.about.panels.forEach((_, number) => legend(number))
    linemon.charts.redraw()
  }
  const linesOf = (number, part, hidden) => linemon.about.panels[number].lines.filter(({column}) => part.columns.includes(column) && !hidden?.has(column))
  // Those of a chart that are drawn, each with the place of its column; a band only where it can be told from others.
  function* shown(number, hidden) {
    for (const part of parts) {
      const lines = linesOf(number, part, hidden)
      if (off.has(key(part)) || (!part.isBefore && linemon.reading.isRate(number)) || (!part.isBefore && lines.length > MOST)) continue
      for (const line of lines) {
        const own = {points: part.points, at: part.columns.indexOf(line.column)}, i = linemon.about.panels[number].lines.indexOf(line)
        yield {part, line, ...own, middle: part.isBefore ? linemon.reading.of(own, number) : own, i}
      }
    }
  }
  // Add them to what a chart draws; `seen` widens its axis by lines, not by bands.
  function into(number, lines, area, hidden, seen, y) {
    for (const {part, line, at, middle: its, i} of shown(number, hidden)) {
      const {points, gaps, columns, isBefore} = part, {times} = points, gap = () => gaps[at], color = colour(`line-${i % 8}`)
      const side = y.side(line), middle = side(its.points.mean(its.at)), shape = Points.trace(times, middle, gap)
      lines.xs.push(shape.xs)
      lines.ys.push(shape.ys)
      lines.color.push(`${color}${isBefore ? "70" : "c0"}`)
      lines.dash.push(isBefore ? "solid" : "dotted")
      seen(points, middle)
      if (!isBefore) area(Points.area(times, side(points.mean(2 * columns.length + at)), side(points.mean(columns.length + at)), gap), color, 0.13)
    }
  }
  // What they say at a time, for the tooltip.
  function near(number, time) {
    return [...shown(number, linemon.charts.hidden)].map(({part, line, at, middle}) => {
      const {points, gaps, columns} = part, i = points.before(time), unit = linemon.reading.unitOf(linemon.about.panels[number].unit, number)
      const j = Math.abs(points.times[i] - time) < Math.abs(points.times[i - 1] - time) || i == 0 ? i : i - 1
      if (!(Math.abs(points.times[j] - time) <= gaps[at])) return ""
      const put = (value) => format(value, unit, 4, linemon.values.stepOf(line.column)), say = (c) => put(points.mean(c)[j])
      const range = part.isBefore ? "" : ` (${say(columns.length + at)} to ${say(2 * columns.length + at)})`
      return `${linesOf(number, part).length > 1 ? `${line.label}, ` : ""}${label(part)}: ${put(middle.points.mean(middle.at)[j])}${range}`
    }).filter(Boolean)
  }
  // How far (ms) beyond the newest row a live view goes: so far that a forecast can be seen, and no further than there is one.
  function ahead(newest, span) {
    let most = 0
    for (const part of parts) {
      const room = AHEAD * span, step = part.gaps[0] / 5
      if (!part.isBefore && !off.has(key(part)) && room >= 2 * step) most = Math.max(most, Math.min(room, part.points.newest - newest))
    }
    return most
  }
  function legend(number) {
    const place = document.querySelector(`#card${number} .legend`), mine = new Map(parts.filter((part) => linesOf(number, part).length).map((part) => [key(part), part]))   // of several sources alike
    for (const button of place.querySelectorAll(".behind")) button.remove()
    for (const part of mine.values()) {
      const isTooMany = !part.isBefore && linesOf(number, part).length > MOST, words = `${label(part)}${isTooMany ? ": choose a line" : ""}`
      const button = make("button", {type: "button", class: "behind", title: title(part), "aria-pressed": !off.has(key(part)), "data-key": key(part)}, make("i", {class: part.isBefore ? "pale" : "band"}), words)
      button.addEventListener("click", () => turn(key(part)))
      place.append(button)
    }
  }
  function turn(name) {
    if (!off.delete(name)) off.add(name)
    sessionStorage.setItem("linemon.behind", JSON.stringify([...off]))
    for (const button of all(".behind")) button.setAttribute("aria-pressed", !off.has(button.dataset.key))
    linemon.charts.redraw()
  }
  // The same span of before is in the address: another one is another page.
  function start() {
    for (const button of all("[data-shift]")) button.addEventListener("click", () => {
      const here = new URLSearchParams(location.search)
      if (button.getAttribute("aria-pressed") == "true") here.delete("shift")
      else here.set("shift", button.dataset.shift)
      location.search = here
    })
    model("answers").properties.behind.change.connect(hear)
  }
  return {start, into, near, ahead}
})()
