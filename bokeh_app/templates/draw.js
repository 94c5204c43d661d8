"use strict"
// From the points of the sources to what the charts draw.
linemon.draw = (() => {
  const {text, model, fill, colour, step, Points} = linemon
  const CALM_MS = 20000           // how long an axis stays wider than it must be
  const DASHES = ["solid", "dashed", "dotdash", "dotted"]   // there are eight colours

  // Where a column of the page is: the points of its source, and its number among them; or what a chart draws of it.
  const columnOf = (number, chart) => {
    const {sources, places} = linemon.charts
    const {source, at} = places[number], points = sources[source]
    return chart == null || at >= points.width ? {points, at} : linemon.reading.of({points, at}, chart)
  }
  const gaps = (points, at) => {
    const key = `${at}`, kept = points.gaps ??= new Map()
    const found = points.hasHoles[at] ? key : "all"
    if (!kept.has(found)) kept.set(found, points.gapAt(points.gap(at)))
    return kept.get(found)
  }
  // One chart: all its lines, bands and dots, and its axis.
  function panel(number, hidden, state) {
    const {reading, about} = linemon, {lines} = about.panels[number], isRate = reading.isRate(number)
    const unit = reading.unitOf(about.panels[number].unit, number), y = linemon.axes.of(number, state, hidden, axis)
    const drawn = {xs: [], ys: [], color: [], dash: [], width: []}, areas = {xs: [], ys: [], color: [], alpha: []}
    const dots = {xs: [], ys: [], color: []}, texts = {xs: [], ys: [], text: [], color: [], align: [], offset: [], drop: []}, toZero = []
    const {start, end} = linemon.time.range
    let low = Infinity, high = -Infinity, below = null, isBeyond = false
    const seen = (points, values) => {
      if (y.isKnown) return
      const to = Math.min(points.length, points.before(end) + 1), from = Math.max(0, points.before(start) - 1)
      y.see?.(values, from, to)
      for (let i = from; i < to; i++) {
        if (values[i] < low) low = values[i]
        if (values[i] > high) high = values[i]
      }
    }
    const area = (shape, color, alpha) => {
      if (!shape.xs.length) return
      areas.xs.push(shape.xs)
      areas.ys.push(shape.ys)
      areas.color.push(color)
      areas.alpha.push(alpha)
    }
    linemon.measures.into(number, drawn, area, seen, y)
    linemon.behind.into(number, drawn, area, hidden, seen, y)
    const isOver = ({role}) => role == "line" || role == "step", isLit = (line) => state.lit == line.column   // what is a sum lies over the stack
    state.shapes = []
    for (const [i, line] of [...lines.entries()].sort(([, a], [, b]) => isOver(a) - isOver(b) || (isOver(a) && isLit(a) - isLit(b)))) {
      if (hidden.has(line.column)) continue
      const {points, at} = columnOf(line.column, number)
      if (!points.length) continue
      isBeyond ||= points.isBeyond[at]
      const gap = gaps(points, at), isDim = state.lit != null && !isLit(line), color = colour(`line-${i % 8}`), share = isDim ? 0.3 : 1
      const side = y.side(line)
      let {times} = points, values = side(points.mean(at)), isStep = false
      if (line.role == "stack") {
        const under = below
        values = values.map((value, j) => Number.isNaN(value) ? (under ? under[j] : NaN) : value + ((under && under[j]) || 0))
        area(Points.area(times, values, under ?? 0, gap), color, 0.38 * share)
        below = values
        seen(points, values)
      } else {
        const isThin = points.isThinned
        let least = isThin ? side(points.low(at)) : values, most = isThin ? side(points.high(at)) : values
        seen(points, most)
        if (isThin) seen(points, least)
        isStep = line.role == "step" || (line.role == "line" && !state.isStacked && reading.isStepped(points, at))
        if (isStep) [times, values, least, most] = Points.steps(times, [values, least, most], gap)
        if (isThin) area(Points.area(times, most, least, gap), color, 0.28 * share)
        if ((lines.length == 1 || state.isMirrored) && !y.isLog) toZero.push([times, values, gap, color])
      }
      const shape = Points.trace(times, values, gap)
      state.shapes.push({column: line.column, ...shape})
      drawn.xs.push(shape.xs)
      drawn.ys.push(shape.ys)
      drawn.color.push(isDim ? `${color}40` : color)
      drawn.dash.push(line.role == "line" && state.isStacked ? "dashed" : DASHES[(i >> 3) % DASHES.length])
      if (isLit(line)) drawn.width[drawn.xs.length - 1] = 3
      const few = shape.xs.length <= 20 && lines.length <= 2 && !isStep
      for (const j of few ? shape.ys.keys() : Points.lonely(shape)) {
        dots.xs.push(shape.xs[j])
        dots.ys.push(shape.ys[j])
        dots.color.push(isDim ? `${color}40` : color)
      }
    }
    const name = `chart${number}`
    const range = model(name).y_range
    if (linemon.about.is_alike) [low, high] = linemon.measures.alike(number, low, high)
    if (!y.isKnown) y.put(0, low, high)
    // down or up to zero, where that is in sight: elsewhere an area says nothing
    if (range.start <= 0 && range.end >= 0) for (const [times, values, gap, color] of toZero) area(Points.area(times, values, 0, gap), color, 0.1)
    reading.say(number)
    const isEmpty = !drawn.xs.some(({length}) => length) && !hidden.size
    linemon.changed.into(areas, range)
    if (linemon.marks.isOn) {
      if (!isRate) linemon.alarms.into(number, areas, range, hidden)
      if (!isRate) linemon.limits.into(number, drawn, texts, range, y, hidden)
      linemon.marks.into(number, drawn, texts, range)
    }
    linemon.cursors.into(drawn, texts, range)
    fill(`areas of ${name}`, areas)
    fill(`lines of ${name}`, {...drawn, width: Array.from(drawn.xs, (_, i) => drawn.width[i] ?? linemon.wall.line)})
    fill(`dots of ${name}`, dots)
    fill(`texts of ${name}`, {...texts, drop: texts.text.map((_, i) => texts.drop[i] ?? 3), back: texts.text.map(() => colour("card"))})
    text(document.querySelector(`#card${number} .warning`), isBeyond ? "values beyond 3.4e38 are not drawn" : y.isCut ? "values of 0 and below are not drawn" : isEmpty ? "no data in sight" : "")
  }
  // Wider at once, narrower only after a while: an axis that follows every value cannot be read.
  function axis(range, [start, end], state, isFixed) {
    const now = performance.now(), {start: from, end: to} = range
    if (isFixed || !state.isSet || start < from || end > to || end - start > 0.7 * (to - from)) state.calmAt = now
    const isInside = start >= from && end <= to
    if (isFixed || !state.isSet || !isInside || (now - state.calmAt > CALM_MS)) {
      const wide = isFixed || !state.isSet || now - state.calmAt > CALM_MS ? [start, end] : [Math.min(start, from), Math.max(end, to)]
      if (wide[0] != from || wide[1] != to) range.setv({start: wide[0], end: wide[1]})
      state.calmAt = now
    }
    state.isSet = true
  }
  // Round ends, so that they move seldom; from zero where that costs little.
  function rangeFor(low, high, unit) {
    if (!(low <= high)) return [0, 1]
    if (unit == "%" && low >= 0 && high <= 100.5) return [0, 100]
    if (low >= 0 && low <= 0.6 * high) low = 0
    if (high <= 0 && high >= 0.6 * low) high = 0
    if (low == high) { const room = Math.abs(low) * 0.1 || 1; high += room; if (low != 0) low -= room }
    const room = (high - low) * 0.03, every = step(high - low + room, unit)
    const start = Math.floor((low == 0 ? 0 : low - room) / every) * every
    const end = Math.ceil((high == 0 ? 0 : high + room) / every) * every
    return [low >= 0 ? Math.max(0, start) : start, high <= 0 ? Math.min(0, end) : end]
  }
  // The picture of all there is, from `oldest` to `newest` of all sources, under its brush.
  function whole(points, oldest, newest) {
    const {times} = points, low = points.low(0), high = points.high(0)
    const start = Math.min(oldest || Infinity, times[0] ?? Infinity), end = Math.max(newest || 0, times.at(-1) ?? 0)
    if (!(start <= end)) return
    model("whole").setv({start, end: Math.max(end, start + 1000)})
    if (!points.length) return
    const steps = [...times.slice(1)].map((t, i) => t - times[i]).sort((a, b) => a - b)
    const gap = points.gapAt(steps.length > 2 ? 5 * steps[Math.floor(steps.length * 0.75)] : Infinity)
    let top = -Infinity, bottom = Infinity
    for (const value of high) if (value > top) top = value
    for (const value of low) if (value < bottom) bottom = value
    if (!(bottom <= top)) bottom = top = 0
    if (bottom >= 0 && bottom <= 0.6 * top) bottom = 0
    const room = (top - bottom) * 0.05 || Math.abs(top) || 1
    bottom -= bottom && room
    model("brush").y_range.setv({start: bottom, end: top + room})
    const shape = Points.area(times, high, bottom, gap), line = Points.trace(times, high, gap)
    fill("areas of brush", {xs: [shape.xs], ys: [shape.ys]})
    fill("lines of brush", {xs: [line.xs], ys: [line.ys]})
  }
  return {panel, whole, columnOf, gaps, rangeFor}
})()
