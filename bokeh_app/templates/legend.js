"use strict"
// Many lines told apart: the one under the pointer, or whose entry in the legend has the pointer or the focus, stands out
// from the others; the legend of more lines than there are colours is a list, the greatest value first.
linemon.legend = (() => {
  const {$, all, make, drawing, S} = linemon
  const COLOURS = 8, NEAR = 12    // pixels from a line that still mean it
  const ORDER_MS = 5 * S          // how often the list is put in order: one that moves at each row cannot be read
  const MOST = 12                 // lines that a tooltip has
  let orderedAt = -Infinity

  const linesOf = (chart) => all(`#card${chart} .line`)
  function light(chart, column) {
    const state = linemon.charts.states[chart]
    if (linemon.about.panels[chart].lines.length < 2 || state.lit == column) return
    state.lit = column
    for (const line of linesOf(chart)) line.classList.toggle("lit", +line.dataset.column == column)
    linemon.draw.panel(chart, linemon.charts.hidden, state)
  }
  // The column of the line that is drawn at a point of a chart, in pixels and as a time; null where there is none.
  function under(chart, {x, sy}) {
    const scale = drawing(`chart${chart}`)?.frame.y_scale
    let found = null, least = NEAR
    for (const {column, xs, ys} of (scale && linemon.charts.states[chart].shapes) ?? []) {
      let low = 0, high = xs.length - 1
      while (low < high) { const half = (low + high) >> 1; if (xs[half] < x) low = half + 1; else high = half }
      const part = xs[low] > xs[low - 1] ? (x - xs[low - 1]) / (xs[low] - xs[low - 1]) : 1
      const value = part >= 0 && part < 1 ? ys[low - 1] + part * (ys[low] - ys[low - 1]) : ys[low]
      const distance = Math.abs(scale.compute(value) - sy)
      if (distance < least) { least = distance; found = column }
    }
    return found
  }
  const hover = (chart, event) => light(chart, event && under(chart, event))

  function order() {
    if (performance.now() - orderedAt < ORDER_MS) return
    orderedAt = performance.now()
    if (linemon.about.kind == "measure") return   // they stand as they are ranked
    for (const legend of all(".legend.many:not(:hover, :focus-within)")) {
      const chart = legend.closest("figure").id.slice("card".length), lines = [...legend.querySelectorAll(".line")]
      const values = new Map(lines.map((line) => [line, linemon.values.current(+line.dataset.column, chart)]))
      const sorted = lines.toSorted((a, b) => (Number.isNaN(values.get(a)) - Number.isNaN(values.get(b))) || values.get(b) - values.get(a))
      if (sorted.some((line, i) => line != lines[i])) legend.prepend(...sorted)
    }
  }
  // The lines of a chart that a tooltip has of those that are drawn: all, or of many those around the one that is meant.
  function told(chart, valueOf) {
    const lines = linesOf(chart).filter((line) => line.getAttribute("aria-pressed") == "true")
    if (lines.length <= COLOURS) return {lines, more: 0}
    const values = new Map(lines.map((line) => [line, valueOf(+line.dataset.column)]))
    lines.sort((a, b) => (values.get(b) || -Infinity) - (values.get(a) || -Infinity))
    const lit = lines.findIndex((line) => line.classList.contains("lit"))
    const first = Math.max(0, Math.min(lit - MOST / 2, lines.length - MOST))
    return {lines: lines.slice(first, first + MOST), more: Math.max(0, lines.length - MOST)}
  }
  function start() {
    linemon.about.panels.forEach(({lines}, chart) => {
      const legend = document.querySelector(`#card${chart} .legend`)
      legend.classList.toggle("many", lines.length > COLOURS)
      const meant = ({target}) => { const line = target.closest(".line"); light(chart, line ? +line.dataset.column : null) }
      for (const event of ["pointerover", "focusin"]) legend.addEventListener(event, meant)
      for (const event of ["pointerleave", "focusout"]) legend.addEventListener(event, () => light(chart, null))
    })
  }
  return {start, hover, order, told}
})()
