"use strict"
// The y axis by hand: its ends, logarithmic, without spikes; two units have an axis each. What is drawn of a line is where
// it is on the left axis: the power of ten of a value where that is logarithmic, and as far up as it is on its own axis.
linemon.axes = (() => {
  const {$, all, text, make, model, drawing, format} = linemon
  const NEAR = 4                  // pixels: less is no drag
  const STEP = 1.25               // of a wheel
  const SPIKES = 0.01             // the share of values, least and greatest, that an axis without spikes leaves out
  const EACH = 4000               // values that are enough to know which those are
  let said = new Map()            // by the key of a chart {ends: [left, right], each [from, to] or null, isLog, isCalm}

  const AUTO = {ends: [null, null], isLog: false, isCalm: false}
  const quote = (name) => name.replace(/[%,:]/g, encodeURIComponent)
  const how = (number) => said.get(linemon.menu.keyOf(number)) ?? AUTO
  const hasLog = (number) => linemon.about.panels[number].kind == "lines"

  // -- the address: `y=TITLE:0..100,TITLE:log:spikes`; a second pair of ends is of the axis on the right

  function parse(address) {
    said = new Map()
    for (const term of (address ?? "").split(",").filter(Boolean)) {
      const [key, ...parts] = term.split(":"), ends = []
      for (const part of parts.filter((each) => each.includes(".."))) {
        const [from, to] = part.split("..").map((end) => end.trim() == "" ? NaN : +end)
        ends.push(from < to && Number.isFinite(to - from) ? [from, to] : null)
      }
      try {
        put(decodeURIComponent(key), {ends: [ends[0] ?? null, ends[1] ?? null], isLog: parts.includes("log"), isCalm: parts.includes("spikes")})
      } catch { /* a percent sign that is none of an address */ }
    }
  }
  function put(key, now) {
    if (now.isLog || now.isCalm || now.ends[0] || now.ends[1]) said.set(key, now)
    else said.delete(key)
  }
  const pair = (ends) => ends ? ends.map((end) => +end.toPrecision(4)).join("..") : ".."
  function term([key, {ends: [left, right], isLog, isCalm}]) {
    return [quote(key), ...right ? [pair(left), pair(right)] : left ? [pair(left)] : [], ...isLog ? ["log"] : [], ...isCalm ? ["spikes"] : []].join(":")
  }
  function set(number, more) {
    put(linemon.menu.keyOf(number), {...how(number), ...more})
    linemon.search.note("y", [...said].map(term).join(","))
    apply(number)
    linemon.charts.redraw()
  }
  const setEnds = (number, side, ends) => set(number, {ends: how(number).ends.map((was, i) => i == side ? ends : was)})
  function apply(number) {
    const chart = model(`chart${number}`), {isLog} = how(number), state = linemon.charts.states[number]
    state.isSet = false
    for (const {ticker, formatter} of [...chart.left, ...chart.right])
      for (const each of [ticker, formatter]) {
        const args = each.args instanceof Map ? Object.fromEntries(each.args) : each.args
        if (args.log != isLog) each.setv({args: {...args, log: isLog}})
      }
    chip(number)
  }
  // That an axis is not as it would be by itself, and the way back.
  function chip(number) {
    const head = document.querySelector(`#card${number} figcaption`), {ends, isLog, isCalm} = how(number), {unit, right} = linemon.about.panels[number]
    head.querySelector(".by-hand")?.remove()
    const words = [...ends.map((each, side) => each && each.map((end) => format(end, side ? right : unit, 3)).join(" to ")), isLog && "log", isCalm && "no spikes"].filter(Boolean).join(", ")
    if (!words) return
    const button = make("button", {type: "button", class: "by-hand live-only", title: "The axis as it is by itself", "aria-label": `The axis as it is by itself, not ${words}`}, `${words} ×`)
    button.addEventListener("click", () => set(number, AUTO))
    head.querySelector(".warning").after(button)
  }

  // -- for `draw.js`: where values are

  const log = (value) => value > 0 ? Math.log10(value) : NaN
  // The ends of an axis in its own places, which are powers of ten where it is logarithmic.
  function fixed(number, side) {
    const {ends, isLog} = how(number), mine = ends[side] ?? (side == 0 ? linemon.about.panels[number].limits : [])
    const placed = isLog ? mine.map(log) : mine
    return placed.length == 2 && placed[0] < placed[1] ? placed : null
  }
  // What `draw.panel` needs of the axes of a chart: `side(line)` maps the values of a line to where they are drawn,
  // `place(value, line)` one of them; `isKnown`: the ends are set before lines are drawn, as two axes must.
  function of(number, state, hidden, axis, rangeFor) {
    const {isLog, isCalm} = how(number), {lines, right} = linemon.about.panels[number], all = isCalm ? [] : null
    const isRight = (line) => right != "" && linemon.about.columns[line.column].unit == right
    const raw = isLog ? (value) => { isCut ||= value <= 0; return log(value) } : (value) => value
    let scale = 1, offset = 0, isCut = false
    function see(values, from, to) {   // of these the spikes are left out
      const every = Math.max(1, Math.floor((to - from) / EACH))
      for (let i = from; i < to; i += every) if (!Number.isNaN(values[i])) all.push(values[i])
    }
    function ends(low, high, unit, kept = all) {
      if (kept?.length) {
        const sorted = Float64Array.from(kept).sort()
        low = sorted[Math.floor(SPIKES * (sorted.length - 1))]
        high = sorted[Math.ceil((1 - SPIKES) * (sorted.length - 1))]
      }
      if (!isLog) return rangeFor(low, high, unit)
      return low <= high ? [Math.floor(low + 1e-9), Math.max(Math.ceil(high - 1e-9), Math.floor(low + 1e-9) + 1)] : [0, 1]
    }
    function both() {                  // the ranges of both axes, by what they are to show
      const {start, end} = linemon.time.range
      const ranges = [model(`chart${number}`).y_range, model(`right of chart${number}`)].map((range, side) => {
        const kept = [], own = side ? state.right ??= {} : state, unit = linemon.about.panels[number][side ? "right" : "unit"]
        own.isSet &&= state.isSet
        for (const line of lines) {
          if (hidden.has(line.column) || isRight(line) != (side == 1)) continue
          const {points, at} = linemon.draw.columnOf(line.column)
          if (!points.length) continue
          const to = Math.min(points.length, points.before(end) + 1), from = Math.max(0, points.before(start) - 1)
          for (const values of points.isThinned ? [points.low(at), points.high(at)] : [points.mean(at)])
            for (let i = from; i < to; i++) { const value = raw(values[i]); if (!Number.isNaN(value)) kept.push(value) }
        }
        const low = kept.reduce((a, b) => Math.min(a, b), Infinity), high = kept.reduce((a, b) => Math.max(a, b), -Infinity), known = fixed(number, side)
        axis(range, known ?? ends(low, high, unit, isCalm ? kept : null), own, known != null)
        own.every = isLog ? 0 : linemon.step(range.end - range.start, unit) / 10
        return range
      })
      scale = (ranges[0].end - ranges[0].start) / (ranges[1].end - ranges[1].start)
      offset = ranges[0].start - scale * ranges[1].start
    }
    const isKnown = right != ""
    if (isKnown) both()
    const place = (value, line) => isRight(line) ? offset + scale * raw(value) : raw(value)
    const side = (line) => line.role == "below" ? (values) => values.map((value) => -Math.abs(value))   // below zero, whichever sign it has
      : isLog || isRight(line) ? (values) => values.map((value) => place(value, line)) : (values) => values
    return {get isCut() { return isCut }, isLog, isKnown, see: all && see, fixed: fixed(number, 0), ends, place, side, isRight}
  }
  // A difference that is to be seen on the axis of a column.
  function stepOf(number, chart) {
    const {states} = linemon.charts, {right} = linemon.about.panels[chart]
    return (right && linemon.about.columns[number].unit == right ? states[chart].right : states[chart])?.every ?? 0
  }

  // -- hands: drag over an axis, wheel, double click

  // The axis under the pointer, {side, at} with the share of its height from below; null where is none.
  function under(number, event) {
    const view = drawing(`chart${number}`), {left, right, top, bottom} = view.frame.bbox, box = view.el.getBoundingClientRect()
    const x = event.clientX - box.left, y = event.clientY - box.top, side = x < left ? 0 : x > right && linemon.about.panels[number].right ? 1 : -1
    return side < 0 || y < top - 6 || y > bottom + 6 ? null : {side, at: Math.min(1, Math.max(0, (bottom - y) / (bottom - top))), top: box.top + top, height: bottom - top}
  }
  const rangeOf = (number, side) => side ? model(`right of chart${number}`) : model(`chart${number}`).y_range
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

  // -- the menu of a chart

  function form(number) {
    const {right, unit} = linemon.about.panels[number], sides = right ? [0, 1] : [0]
    const field = (value, name) => make("input", {inputmode: "decimal", size: 7, value: value ?? "", "aria-label": name})
    const fields = sides.map((side) => {
      const name = right ? `axis on the ${side ? "right" : "left"}` : "axis", mine = how(number).ends[side] ?? []
      return ["from", "to"].map((end, i) => field(mine[i] == null ? "" : +mine[i].toPrecision(4), `${name} ${end}`))
    })
    const error = make("output", {class: "warning", role: "alert"})
    const found = make("form", {class: "ends"}, ...fields.map(([from, to], side) => make("span", {}, `${right ? (side ? `Right axis, ${right}` : `Left axis, ${unit}`) : "Axis"} from `, from, " to ", to)), make("button", {}, "Set"), error)
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
    parse(new URLSearchParams(location.search).get("y"))
    linemon.about.panels.forEach((_, number) => { if (how(number).isLog && !hasLog(number)) how(number).isLog = false; apply(number) })
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
  return {start, of, stepOf}
})()
