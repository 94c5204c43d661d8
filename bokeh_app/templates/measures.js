"use strict"
// One measure of all that have it: the links that lead there; and sources chosen on the overview, to be compared.
linemon.measures = (() => {
  const {$, text, make, model, colour} = linemon
  const MOST = 80, OFFERED = 6   // columns in a comparison; links to compare by
  const chosen = new Map()       // rows by the names of their sources

  const address = (measure) => `?${new URLSearchParams({measure, window: new URLSearchParams(location.search).get("window") ?? "5m"})}`
  const link = (measure, words) => make("a", {href: address(measure), title: `${words} of all: the top ten, and a band of the rest`}, words)

  function box(row) {
    const input = make("input", {type: "checkbox", "aria-label": `Choose ${row.name}`})
    input.checked = chosen.has(row.name)
    input.addEventListener("click", (event) => event.stopPropagation())
    input.addEventListener("change", () => {
      if (input.checked) chosen.set(row.name, row)
      else chosen.delete(row.name)
      show()
    })
    return input
  }
  // Under the rows: by which columns those that are chosen can be compared.
  function show() {
    const columns = new Map()
    for (const {name, columns: names, labels} of chosen.values()) names.forEach((column, i) => {
      if (!columns.has(column)) columns.set(column, {label: labels[i] || column, terms: []})
      columns.get(column).terms.push(linemon.search.term(name, column))
    })
    $("chosen").hidden = chosen.size == 0
    text($("chosen").firstElementChild, chosen.size > MOST ? `${chosen.size} chosen, ${MOST} are compared by` : `${chosen.size} chosen, compare`)
    const offered = [...columns.values()].sort((a, b) => b.terms.length - a.terms.length).slice(0, OFFERED)
    $("compare-by").replaceChildren(...offered.map(({label, terms}) => make("a", {href: linemon.search.plotAddress(terms.slice(0, MOST))}, label)))
  }

  // -- the page of a measure

  let rest = null
  const extents = new Map()      // of each chart the least and greatest of what is in sight
  function hear() {
    const {take, floats} = linemon.unpack(model("answers").rest), block = linemon.charts.block(take, floats, 5)
    rest = new linemon.Points(5)
    rest.clear(block.bucket, Math.max(1, block.times.length))
    rest.add(block)
    linemon.charts.redraw()
  }
  // The band of those that are not among the top: from least to greatest, darker the middle half, dotted the median.
  function into(number, drawn, area, seen, y) {
    if (!rest?.length || number) return
    const {Points} = linemon, {times} = rest, gap = rest.gapAt(rest.gap(0)), color = colour("muted"), side = y.side(linemon.about.panels[0].lines[0])
    const [least, low, median, high, most] = [0, 1, 2, 3, 4].map((i) => side(rest.mean(i)))
    area(Points.area(times, most, least, gap), color, 0.14)
    area(Points.area(times, high, low, gap), color, 0.2)
    const {xs, ys} = Points.trace(times, median, gap)
    drawn.xs.push(xs)
    drawn.ys.push(ys)
    drawn.color.push(color)
    drawn.dash.push("dotted")
    seen(rest, least)
    seen(rest, most)
  }
  // Small charts have one axis: that of all of them.
  function alike(number, low, high) {
    const before = extents.get(number)
    extents.set(number, [low, high])
    if (before?.[0] != low || before?.[1] != high) linemon.charts.redrawSoon()
    const all = [...extents.values()]
    return [Math.min(...all.map(([low]) => low)), Math.max(...all.map(([, high]) => high))]
  }
  // In the menu of a chart of one source: its columns, of all sources.
  linemon.menu.add((number) => linemon.about.kind != "source" ? [] : linemon.about.panels[number].lines.slice(0, OFFERED).map(({column, label}) => {
    const {title} = linemon.about.panels[number], {name} = linemon.about.columns[column], measure = name == "value" ? linemon.about.source.split(".").at(-1) : name
    return {text: `${title == label ? "" : `${title} `}${label} of all sources`, does: () => { location.href = address(measure) }}
  }))
  // What the server ranked by is what was in sight then: to be ranked anew is another page.
  function connect() {
    model("answers").properties.rest.change.connect(hear)
    $("rank").addEventListener("click", () => location.reload())
    $("small").addEventListener("click", () => {
      const here = new URLSearchParams(location.search)
      if (here.has("small")) here.delete("small")
      else here.set("small", 1)
      location.search = here
    })
  }
  function start() {
    if (!$("chosen")) return
    for (const each of document.querySelectorAll("[data-measure]")) each.href = address(each.dataset.measure)
    $("choose-none").addEventListener("click", () => {
      chosen.clear()
      for (const each of document.querySelectorAll("#rows input:checked")) each.checked = false
      show()
    })
  }
  return {start, connect, link, box, into, alike}
})()
