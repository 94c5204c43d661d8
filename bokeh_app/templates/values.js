"use strict"
// Numbers beside the charts: tiles, legends, the tooltip and the table of what is in sight.
linemon.values = (() => {
  const {$, all, text, make, model, format, colour, stamp, copy, S} = linemon
  let pointer = null, order = {by: 0, isDown: false}, tableAt = 0

  // The unit of a column, as a chart draws it; no chart: as its rows are.
  const unit = (number, chart) => linemon.reading.unitOf(linemon.about.columns[number].unit, chart)
  // The value of a column at a time, of its nearest point.
  function valueAt(number, time, chart) {
    const {points, at} = linemon.draw.columnOf(number, chart)
    if (at >= points.width || !points.length) return NaN
    const {times} = points, values = points.mean(at)
    let i = points.before(time)
    if (i > 0 && (i == times.length || time - times[i - 1] < times[i] - time)) i--
    const gap = linemon.draw.gaps(points, at)
    for (const j of [i, i - 1, i + 1]) if (!Number.isNaN(values[j] ?? NaN) && Math.abs(times[j] - time) <= gap(times[j])) return values[j]
    return NaN
  }
  // A difference that is to be seen on the axis that a column is drawn on.
  const chartOf = (number) => linemon.about.panels.findIndex(({lines}) => lines.some(({column}) => column == number))
  const stepOf = (number) => { const chart = chartOf(number); return chart < 0 ? 0 : linemon.axes.stepOf(number, chart) }
  // The level of a value of a column, as a chart draws it; of the newest also what alarms say.
  const levelOf = (number, value, chart, isLast) => linemon.limits.level(number, linemon.reading.isRate(chart) ? NaN : value, isLast && linemon.time.isLive)
  // The newest value; of what stands still the last in sight, or where a line only passes through, that of its point before.
  function current(number, chart) {
    const {charts, time} = linemon, own = linemon.draw.columnOf(number), {points, at} = linemon.draw.columnOf(number, chart)
    if ((time.isLive && points == own.points && !linemon.zero) || at >= points.width) return charts.latest[number] ?? NaN
    const values = points.mean(at)
    let i = Math.min(points.before(time.range.end), points.length - 1)
    if (points.times[i] > time.range.end) i--
    const {times} = points, isBetween = times[i] < time.range.start && times[i + 1] - times[i] <= linemon.draw.gaps(points, at)(times[i])
    while (i >= 0 && Number.isNaN(values[i]) && times[i] >= time.range.start) i--
    return times[i] >= time.range.start || isBetween ? values[i] : NaN
  }

  function put(place, shown) {
    text(place, shown)
    if (!(shown.length <= place.dataset.length)) {  // the widest yet: legends do not jump
      place.dataset.length = shown.length
      place.style.minWidth = `${shown.length}ch`
    }
  }
  function show() {
    if (pointer) follow()
    sparks()                      // where tiles are is asked before texts change: else it would have to be worked out twice
    const time = pointer?.time
    for (const element of all(".line, .tile, dd[data-column]")) {
      const number = +element.dataset.column, isTile = element.classList.contains("tile")
      const chart = element.closest("figure")?.id.slice("card".length)
      const value = time != null && !isTile ? valueAt(number, time, chart) : current(number, chart)
      const isPlain = element.tagName == "DD"   // of these nothing says how exactly they are to be read
      const place = isPlain ? element : element.querySelector("output")
      put(place, format(value, unit(number, chart), isPlain ? 7 : 4, stepOf(number)))
      linemon.limits.mark(place, levelOf(number, value, chart, time == null || isTile))
    }
    if (linemon.about.kind == "measure") for (const line of all(".line")) {   // by what they are ranked
      const number = +line.dataset.column, chart = line.closest("figure").id.slice("card".length), mean = statistics(number)[2]
      text(line.querySelector("small"), Number.isNaN(mean) ? "" : `mean ${format(mean, unit(number, chart), 4, stepOf(number))}`)
    }
    if (pointer) tip()
    linemon.legend.order()
    linemon.cursors.show()
    if ($("values")?.open && performance.now() - tableAt > S) table()
  }
  function sparks() {
    const holder = document.querySelector(".tiles")
    if (!holder) return
    const {start, end} = linemon.time.range, color = colour("line-0")
    linemon.sparks("sparks", holder, all(".tile").map((tile) => {
      const number = +tile.dataset.column, {points, at} = linemon.draw.columnOf(number)
      return {element: tile.querySelector(".spark"), times: points.times, values: points.mean(at), start, end, gap: linemon.draw.gaps(points, at), color, isPercent: unit(number) == "%"}
    }))
  }

  // -- the tooltip

  function hover(chart, event) {
    const {start, end} = linemon.time.range
    pointer = event && event.x >= start && event.x <= end ? {chart, share: (event.x - start) / (end - start), sx: event.sx, sy: event.sy} : null
    $("tip").hidden = pointer == null
    linemon.legend.hover(chart, pointer && event)
    show()
    linemon.cursors.hover(pointer)
  }
  // A pointer that rests is over other times when the charts move on under it.
  function pointed() {
    const {start, end} = linemon.time.range
    return pointer && start + pointer.share * (end - start)
  }
  function follow() {
    const time = pointed()
    pointer.time = nearest(pointer.chart, time)
    model("crosshair").setv({location: time})
  }
  function nearest(chart, time) {
    let best = time, distance = Infinity
    for (const {column} of linemon.about.panels[chart].lines) {
      const {points} = linemon.draw.columnOf(column, chart), i = points.before(time)
      for (const j of [i - 1, i]) {
        const there = points.times[j]
        if (Math.abs(there - time) < distance) { best = there; distance = Math.abs(there - time) }
      }
    }
    return best
  }
  function tip() {
    const box = $("tip"), {chart, time, sx, sy} = pointer, said = [...linemon.behind.near(chart, pointed()), ...linemon.marks.near(chart, pointed())], table = make("table")
    table.createCaption().textContent = stamp(time)
    const {lines, more} = linemon.legend.told(chart, (column) => valueAt(column, time, chart))
    for (const line of lines) {
      const row = table.insertRow(), swatch = line.querySelector("i").cloneNode()
      row.className = line.classList.contains("lit") ? "lit" : ""
      swatch.style.setProperty("--color", line.style.getPropertyValue("--color"))
      row.insertCell().append(swatch)
      row.insertCell().textContent = line.querySelector("span").textContent
      row.insertCell().textContent = line.querySelector("output").textContent
    }
    if (more) said.unshift(`and ${more} more`)
    box.replaceChildren(table, ...said.map((words) => make("p", {}, words)))
    float($(`plot${chart}`), sx, sy)
  }
  // The tooltip beside a point of a figure, in pixels.
  function float(figure, sx, sy) {
    const box = $("tip"), plot = figure.getBoundingClientRect(), left = plot.left + sx
    box.style.left = `${Math.max(4, left + box.offsetWidth + 24 > innerWidth ? left - box.offsetWidth - 14 : left + 14)}px`
    box.style.top = `${Math.max(4, Math.min(plot.top + sy - 10, innerHeight - box.offsetHeight - 4))}px`
  }

  // -- legends: a click isolates a line, with Ctrl or Shift it hides one

  // Which are hidden is in the address: columns as a comparison writes them, of runs with the times of their marks.
  function keyOf(number) {
    const {about, search} = linemon, {source, name} = about.columns[number]
    const key = about.sources.length > 1 ? search.term(about.sources[source], name) : search.quote(name)
    return about.runs ? `${key}@${Math.round(about.runs[source][0])}` : key
  }
  function restore() {
    const given = new Set((new URLSearchParams(location.search).get("hide") ?? "").split(",")), {hidden} = linemon.charts
    hidden.clear()
    for (const number of drawn()) if (given.has(keyOf(number))) hidden.add(number)
    press()
  }
  function choose(button, event) {
    const {hidden} = linemon.charts, number = +button.dataset.column
    const beside = all(".line").filter((each) => each.closest(".card") == button.closest(".card")).map((each) => +each.dataset.column)
    const others = beside.filter((each) => each != number)
    if (event.ctrlKey || event.metaKey || event.shiftKey || others.length == 0) {
      if (!hidden.delete(number)) hidden.add(number)
    } else if (!hidden.has(number) && others.every((each) => hidden.has(each))) beside.forEach((each) => hidden.delete(each))
    else {
      others.forEach((each) => hidden.add(each))
      hidden.delete(number)
    }
    linemon.search.note("hide", [...hidden].map(keyOf).join(","))
    press()
    linemon.charts.redraw()
  }
  const press = () => {
    for (const button of all(".line")) button.setAttribute("aria-pressed", !linemon.charts.hidden.has(+button.dataset.column))
  }

  // -- the table

  const HEADS = ["column", "last", "min", "mean", "max"]
  function statistics(number) {
    const chart = chartOf(number), {points, at} = linemon.draw.columnOf(number, chart), {start, end} = linemon.time.range
    let low = Infinity, high = -Infinity, sum = 0, count = 0
    const mean = points.mean(at), least = points.low(at), most = points.high(at), counts = points.count(at)
    for (let i = points.before(start); i < points.length && points.times[i] <= end; i++) {
      if (Number.isNaN(mean[i])) continue
      low = Math.min(low, least[i])
      high = Math.max(high, most[i])
      sum += mean[i] * counts[i]
      count += counts[i]
    }
    return count ? [current(number, chart), low, sum / count, high] : [current(number, chart), NaN, NaN, NaN]
  }
  // A column as the page calls it; in files it keeps its own name.
  const nameOf = (number, isInFile = false) => {
    const {about} = linemon, {source, name: own, label} = about.columns[number], name = (!isInFile && label) || own
    return about.runs ? `${name} ${linemon.runs.nameOf(source)}` : about.sources.length > 1 ? `${about.sources[source]} ${name}` : name
  }
  const drawn = () => [...new Set(linemon.about.panels.flatMap(({lines}) => lines.map(({column}) => column)))]
  function rows() {
    const found = drawn().map((number) => [nameOf(number), ...statistics(number), number])
    const {by, isDown} = order, sign = isDown ? -1 : 1
    return found.sort((a, b) => sign * (by == 0 ? a[0].localeCompare(b[0], undefined, {numeric: true}) : (a[by] || 0) - (b[by] || 0)))
  }
  function table() {
    tableAt = performance.now()
    const body = $("statistics").tBodies[0], found = rows()
    while (body.rows.length < found.length) {
      const row = body.insertRow()
      row.append(make("th", {scope: "row"}), ...HEADS.slice(1).map(() => make("td")))
    }
    found.forEach(([name, ...rest], i) => {
      const number = rest.pop(), {cells} = body.rows[i]
      text(cells[0], name)
      rest.forEach((value, c) => {
        text(cells[c + 1], format(value, unit(number, chartOf(number)), 7, stepOf(number) / 100))
        linemon.limits.mark(cells[c + 1], levelOf(number, value, chartOf(number), c == 0))
      })
    })
  }
  function start() {
    for (const button of all(".line")) button.addEventListener("click", (event) => choose(button, event))
    restore()
    addEventListener("popstate", () => { restore(); linemon.charts.redraw() })
    linemon.about.panels.forEach((_, number) => {
      const chart = model(`chart${number}`)
      if (!matchMedia("(pointer: coarse)").matches) {   // a finger that leaves has only just read: see touch.js
        chart.on_event("mousemove", (event) => hover(number, event))
        chart.on_event("mouseleave", () => hover(number, null))
      }
      chart.on_event("doubletap", () => linemon.time.zoom(2))
      // Bokeh's own undo, which a double click after a zoom would do first, leads to the empty axes of the start.
      chart.on_event("rangesupdate", () => linemon.drawing(`chart${number}`)?.state.clear())
    })
    const sized = new ResizeObserver(sparks)
    for (const each of all(".tiles, .spark")) sized.observe(each)
    $("values").addEventListener("toggle", () => { if ($("values").open) table() })
    all("#statistics thead button").forEach((button, by) => button.addEventListener("click", () => {
      order = {by, isDown: order.by == by ? !order.isDown : by > 0}
      all("#statistics thead th").forEach((head, i) => head.setAttribute("aria-sort", i == by ? (order.isDown ? "descending" : "ascending") : "none"))
      table()
    }))
    $("copy-table").addEventListener("click", (event) => {
      const lines = [[...HEADS, "unit"], ...rows().map(([name, ...rest]) => { const number = rest.pop(); return [name, ...rest, unit(number, chartOf(number))] })]
      copy(lines.map((line) => line.join("\t")).join("\n"), event.currentTarget)
    })
  }
  return {start, show, hover, float, current, valueAt, unit, chartOf, table, drawn, nameOf, stepOf, pointed, pointer: () => pointer}
})()
