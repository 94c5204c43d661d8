"use strict"
// The y axis by hand: its ends, logarithmic, without spikes; two units have an axis each. What is drawn of a line is where
// it is on the left axis: the power of ten of a value where that is logarithmic, and as far up as it is on its own axis.
linemon.axes = (() => {
  const {$, text, make, model, drawing, format, step} = linemon
  const NEAR = 4                  // pixels: less is no drag
  const NEAR_SHARE = 0.1          // of a chart's height: fingers so near one another only move
  const STEP = 1.25               // of a wheel
  const SPIKES = 0.01             // the share of values, least and greatest, that an axis without spikes leaves out
  const EACH = 4000               // values that are enough to know which those are
  let said = new Map()            // by the key of a chart {ends: [left, right], each [from, to] or null, isLog, isCalm}

  const AUTO = {ends: [null, null], isLog: false, isCalm: false}
  const how = (number) => said.get(linemon.menu.keyOf(number)) ?? AUTO
  const hasLog = (number) => !["stacked", "mirrored"].includes(linemon.about.panels[number].kind)
  const unitOf = (number, side) => linemon.reading.unitOf(linemon.about.panels[number][side ? "right" : "unit"], number)

  // -- the address: `y=0..100:TITLE&y=log,spikes:TITLE`; a second pair of ends is of the axis on the right

  function parse(given) {
    said = new Map()
    for (const each of given) {
      const at = each.indexOf(":"), key = each.slice(at + 1), parts = each.slice(0, at).split(",")
      const [left = null, right = null] = parts.filter((part) => part.includes("..")).map((part) => {
        const [from, to] = part.split("..").map((end) => end == "" ? NaN : +end)
        return from < to && Number.isFinite(to - from) ? [from, to] : null
      })
      if (at > 0 && linemon.menu.chartOf(key) >= 0) put(key, {ends: [left, right], isLog: parts.includes("log") && hasLog(linemon.menu.chartOf(key)), isCalm: parts.includes("spikes")})
    }
  }
  function put(key, now) {
    if (now.isLog || now.isCalm || now.ends[0] || now.ends[1]) said.set(key, now)
    else said.delete(key)
  }
  // With so many digits as tell the ends apart.
  const rounded = ([from, to]) => [from, to].map((end) => +end.toPrecision(Math.min(15, Math.max(4, 4 + Math.ceil(Math.log10(Math.abs(end || 1) / (to - from)))))))
  const pair = (ends) => ends ? ends.join("..") : ".."
  const term = ([key, {ends: [left, right], isLog, isCalm}]) =>
    `${[...right ? [pair(left), pair(right)] : left ? [pair(left)] : [], ...isLog ? ["log"] : [], ...isCalm ? ["spikes"] : []].join()}:${key}`
  function set(number, more) {
    put(linemon.menu.keyOf(number), {...how(number), ...more})
    apply(number)
    linemon.charts.redraw()
    note()
  }
  function note() {
    const here = new URL(location)
    here.searchParams.delete("y")
    for (const each of said) here.searchParams.append("y", term(each))
    history.replaceState(null, "", here)
  }
  const withEnds = (number, side, ends) => ({ends: how(number).ends.map((was, i) => i == side ? ends && rounded(ends) : was)})
  const setEnds = (number, side, ends) => set(number, withEnds(number, side, ends))
  function apply(number) {
    const chart = model(`chart${number}`), {isLog} = how(number), state = linemon.charts.states[number]
    state.isSet = false
    for (const {ticker, formatter} of [...chart.left, ...chart.right])
      for (const each of [ticker, formatter]) if (each.args.log != isLog) each.args = {...each.args, log: isLog}
    chip(number)
  }
  // That an axis is not as it would be by itself, and the way back.
  function chip(number) {
    const head = document.querySelector(`#card${number} figcaption`), {ends, isLog, isCalm} = how(number)
    head.querySelector(".by-hand")?.remove()
    const words = [...ends.map((each, side) => each && each.map((end) => format(end, unitOf(number, side), 4, (each[1] - each[0]) / 100)).join(" to ")), isLog && "log", isCalm && "no spikes"].filter(Boolean).join(", ")
    if (!words) return
    const button = make("button", {type: "button", class: "by-hand live-only", title: "The axis as it is by itself", "aria-label": `The axis as it is by itself, not ${words}`}, `${words} ×`)
    button.addEventListener("click", () => set(number, AUTO))
    head.querySelector(".warning").after(button)
  }

  // -- for `draw.js`: where values are

  const log = (value) => value > 0 ? Math.log10(value) : NaN
  const rangeOf = (number, side) => side ? model(`right of chart${number}`) : model(`chart${number}`).y_range
  // The ends of an axis in its own places, which are powers of ten where it is logarithmic.
  function fixed(number, side) {
    const {ends, isLog} = how(number), ofPanel = side || linemon.reading.isRate(number) ? [] : linemon.about.panels[number].limits
    const mine = ends[side] ?? ofPanel, placed = isLog ? mine.map(log) : mine
    return placed.length == 2 && placed[0] < placed[1] ? placed : null
  }
  // The ends of an axis by what it is to show: all from `low` to `high`, or without spikes what `kept` has.
  function ends(number, side, low, high, kept) {
    if (kept?.length) {
      const sorted = Float64Array.from(kept).sort()
      low = sorted[Math.floor(SPIKES * (sorted.length - 1))]
      high = sorted[Math.ceil((1 - SPIKES) * (sorted.length - 1))]
    }
    if (!how(number).isLog) return linemon.draw.rangeFor(low, high, unitOf(number, side))
    return low <= high ? [Math.floor(low + 1e-9), Math.max(Math.ceil(high - 1e-9), Math.floor(low + 1e-9) + 1)] : [0, 1]
  }
  // What `draw.panel` needs of the axes of a chart: `side(line)` maps the values of a line to where they are drawn,
  // `place(value, line)` one of them; `put` sets the ends, which are known before lines are drawn where there are two axes.
  function of(number, state, hidden, axis) {
    const {isLog, isCalm} = how(number), {lines, right} = linemon.about.panels[number], kept = [[], []]
    const isRight = ({column}) => right != "" && linemon.about.columns[column].unit == right
    let scale = 1, offset = 0, isCut = false
    const raw = isLog ? (value) => { isCut ||= value <= 0; return log(value) } : (value) => value
    const place = (value, line) => isRight(line) ? offset + scale * raw(value) : raw(value)
    const side = (line) => line.role == "below" ? (values) => values.map((value) => -Math.abs(value))   // below zero, whichever sign it has
      : isLog || isRight(line) ? (values) => values.map((value) => place(value, line)) : (values) => values
    function see(values, from, to, side = 0) {
      const every = Math.max(1, Math.floor((to - from) / EACH))
      for (let i = from; i < to; i += every) if (!Number.isNaN(values[i])) kept[side].push(values[i])
    }
    function put(side, low, high) {
      const range = rangeOf(number, side), known = fixed(number, side), own = side ? state.right ??= {} : state
      axis(range, known ?? ends(number, side, low, high, isCalm && kept[side]), own, known != null)
      own.every = isLog ? 0 : step(range.end - range.start, unitOf(number, side)) / 10   // a difference that is to be seen
      return range
    }
    function both() {
      const {start, end} = linemon.time.range, low = [Infinity, Infinity], high = [-Infinity, -Infinity]
      for (const line of lines) {
        const {points, at} = linemon.draw.columnOf(line.column, number), side = +isRight(line)
        if (hidden.has(line.column) || !points.length) continue
        const from = Math.max(0, points.before(start) - 1), to = Math.min(points.length, points.before(end) + 1)
        for (const values of points.isThinned ? [points.low(at), points.high(at)] : [points.mean(at)]) {
          const seen = values.subarray(from, to).map(raw)
          if (isCalm) see(seen, 0, seen.length, side)
          for (const value of seen) { if (value < low[side]) low[side] = value; if (value > high[side]) high[side] = value }
        }
      }
      if (state.right) state.right.isSet &&= state.isSet
      const [left, other] = [0, 1].map((side) => put(side, low[side], high[side]))
      scale = (left.end - left.start) / (other.end - other.start)
      offset = left.start - scale * other.start
    }
    if (right) both()
    return {isLog, isKnown: right != "", see: isCalm ? see : null, place, side, put, get isCut() { return isCut }}
  }
  // A difference that is to be seen on the axis of a column.
  function stepOf(number, chart) {
    const {states} = linemon.charts, {right} = linemon.about.panels[chart]
    return (right && linemon.about.columns[number].unit == right ? states[chart].right : states[chart])?.every ?? 0
  }

  // -- hands: drag over an axis, wheel, double click

  // The axis under the pointer, {side, at} with the share of its height from below; null where is none.
  function under(number, event) {
    const view = drawing(`chart${number}`)
    if (!view) return null
    const {left, right, top, bottom} = view.frame.bbox, box = view.el.getBoundingClientRect()
    const x = event.clientX - box.left, y = event.clientY - box.top, side = x < left ? 0 : x > right && linemon.about.panels[number].right ? 1 : -1
    return side < 0 || y < top - 6 || y > bottom + 6 ? null : {side, at: Math.min(1, Math.max(0, (bottom - y) / (bottom - top))), top: box.top + top, height: bottom - top}
  }
  const valueAt = (number, side, share) => {
    const {start, end} = rangeOf(number, side), place = start + share * (end - start)
    return how(number).isLog ? 10 ** place : place
  }
  function drag(number, event) {
    const from = under(number, event), plot = $(`plot${number}`)
    if (!from || event.button != 0 || event.pointerType == "touch") return   // a finger scrolls the page
    event.stopPropagation()
    event.preventDefault()
    const band = make("div", {class: "axis-band"}), share = ({clientY}) => Math.min(1, Math.max(0, 1 - (clientY - from.top) / from.height))
    const box = plot.getBoundingClientRect()
    plot.append(band)
    plot.setPointerCapture(event.pointerId)
    const move = (event) => {
      const [low, high] = [from.at, share(event)].sort((a, b) => a - b)
      band.style.top = `${from.top - box.top + (1 - high) * from.height}px`
      band.style.height = `${(high - low) * from.height}px`
    }
    const end = (event) => {
      plot.removeEventListener("pointermove", move)
      band.remove()
      const [low, high] = [from.at, share(event)].sort((a, b) => a - b)
      if (event.type == "pointerup" && (high - low) * from.height >= NEAR) setEnds(number, from.side, [valueAt(number, from.side, low), valueAt(number, from.side, high)])
    }
    plot.addEventListener("pointermove", move)
    for (const type of ["pointerup", "pointercancel"]) plot.addEventListener(type, end, {once: true})
  }
  function wheel(number, event) {
    const on = under(number, event)
    if (!on || event.ctrlKey) return
    event.stopPropagation()
    event.preventDefault()
    const factor = event.deltaY > 0 ? STEP : 1 / STEP
    setEnds(number, on.side, [on.at * (1 - factor), on.at + factor * (1 - on.at)].map((share) => valueAt(number, on.side, share)))
  }
  function back(number, event) {
    const on = under(number, event)
    if (!on) return
    event.stopPropagation()
    setEnds(number, on.side, null)
  }

  // Two fingers on an axis: what they hold stays under them, so they zoom and move it. `pull` follows them until `drop`.
  const shareOf = (on, {clientY}) => 1 - (clientY - on.top) / on.height
  function hold(number, fingers) {
    const [on, other] = fingers.map((finger) => under(number, finger))
    if (!on || on.side != other?.side) return null
    const {start, end} = rangeOf(number, on.side), [low, high] = fingers.map((finger) => shareOf(on, finger)).sort((a, b) => a - b)
    return {number, on, low, high, start, span: end - start}
  }
  function pull({number, on, low, high, start, span}, fingers) {
    const [from, to] = fingers.map((finger) => shareOf(on, finger)).sort((a, b) => a - b), isMove = Math.min(high - low, to - from) < NEAR_SHARE
    const wide = isMove ? span : span * (high - low) / (to - from)
    const first = start + (low + high) / 2 * span - (from + to) / 2 * wide, places = [first, first + wide]
    put(linemon.menu.keyOf(number), {...how(number), ...withEnds(number, on.side, how(number).isLog ? places.map((place) => 10 ** place) : places)})
    apply(number)
    linemon.charts.redrawSoon()
  }

  // -- the menu of a chart

  function form(number) {
    const {right} = linemon.about.panels[number], sides = right ? [0, 1] : [0]
    const field = (value, name) => make("input", {inputmode: "decimal", size: 7, value: value ?? "", "aria-label": name})
    const fields = sides.map((side) => {
      const name = right ? `axis on the ${side ? "right" : "left"}` : "axis", mine = how(number).ends[side] ?? []
      return ["from", "to"].map((end, i) => field(mine[i] ?? "", `${name} ${end}`))
    })
    const error = make("output", {class: "warning", role: "alert"})
    const found = make("form", {class: "ends"}, ...fields.map(([from, to], side) => make("span", {}, `${right ? (side ? `Right axis, ${unitOf(number, 1)},` : `Left axis, ${unitOf(number, 0)},`) : "Axis"} from `, from, " to ", to)), make("button", {}, "Set"), error)
    found.addEventListener("submit", (event) => {
      event.preventDefault()
      const ends = fields.map((pair) => pair.map(({value}) => value.trim() == "" ? NaN : +value))
      const isNone = (pair) => pair.every(({value}) => value.trim() == "")
      const wrong = ends.findIndex(([from, to], side) => !isNone(fields[side]) && !(from < to && Number.isFinite(to - from)))
      if (wrong >= 0) return text(error, "two numbers, the lower first; none: as the values are")
      set(number, {ends: [0, 1].map((side) => fields[side] && !isNone(fields[side]) ? ends[side] : null)})
      $("menu").hidePopover?.()
    })
    return found
  }
  function items(number) {
    const {isLog, isCalm} = how(number)
    return [
      ...hasLog(number) ? [{text: "Logarithmic axis", on: isLog, does: () => set(number, {isLog: !isLog})}] : [],
      {text: "Ignore spikes", on: isCalm, does: () => set(number, {isCalm: !isCalm})},
      form(number),
    ]
  }
  function restore() {
    parse(new URLSearchParams(location.search).getAll("y"))
    linemon.about.panels.forEach((_, number) => apply(number))
  }
  function start() {
    restore()
    addEventListener("popstate", () => { restore(); linemon.charts.redraw() })
    linemon.menu.add(items)
    linemon.about.panels.forEach((_, number) => {
      const plot = $(`plot${number}`), does = {pointerdown: drag, wheel, dblclick: back}
      for (const [type, hand] of Object.entries(does)) plot.addEventListener(type, (event) => hand(number, event), {capture: true, passive: false})
      plot.addEventListener("pointermove", (event) => { plot.classList.toggle("on-axis", under(number, event) != null) }, {passive: true})
    })
  }
  return {start, of, stepOf, hold, pull, drop: note}
})()
