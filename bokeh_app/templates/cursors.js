"use strict"
// Two cursors: what lies between two moments, for the lines of one chart. `d` sets the first where the pointer is; the
// second follows it, until `d` or a click sets it, too. Sliders do the same by keyboard. The address says where they are.
linemon.cursors = (() => {
  const {$, all, text, make, model, format, colour, date, seconds, keys, menu, S} = linemon
  const STEPS = 1000              // of a slider over what is in sight
  const PERIOD_S = 10             // of what is as long as this, or longer, nobody thinks as of a frequency
  let chart = -1, at = [], isFollowing = false, isAsked = false

  const isOpen = () => chart >= 0
  const clock = (time) => linemon.zero ? linemon.stamp(Math.round(time)) : wall(time)
  const wall = (time) => { const when = new Date(time); return `${seconds(when)}.${String(when.getMilliseconds()).padStart(3, "0")}` }
  const signed = (value, unit, every) => (value > 0 ? "+" : "") + format(value, unit, 4, every)
  // Those of the chart that are drawn: label, the values at both cursors, and the step between, whole and per second.
  function rows() {
    const {about, charts, values} = linemon, passed = (at[1] - at[0]) / S
    return about.panels[chart].lines.filter(({column}) => !charts.hidden.has(column)).map(({column, label}) => {
      const unit = values.unit(column, chart), every = values.stepOf(column), [from, to] = at.map((time) => values.valueAt(column, time, chart))
      const rate = passed ? signed((to - from) / passed, linemon.reading.perSecond(unit), 0) : "–"
      return [label, format(from, unit, 4, every), format(to, unit, 4, every), signed(to - from, unit, every / 10), rate]
    })
  }
  function show() {
    if (!isOpen()) return
    const {start, end} = linemon.time.range, passed = (at[1] - at[0]) / S
    for (const [i, slider] of all("#cursors input").entries()) {
      Object.assign(slider, {min: start, max: end, step: (end - start) / STEPS, value: at[i]})
      slider.setAttribute("aria-valuetext", clock(at[i]))
      text(slider.nextElementSibling, clock(at[i]))
    }
    text($("cursors-between"), `Δt ${format(passed, "s", 4)}${passed && Math.abs(passed) < PERIOD_S ? `, ${format(1 / Math.abs(passed), "Hz", 4)}` : ""}`)
    text($("cursors-of"), linemon.about.panels[chart].title)
    const body = $("cursors").querySelector("tbody"), found = rows()
    while (body.rows.length > found.length) body.deleteRow(-1)
    found.forEach((cells, i) => {
      const row = body.rows[i] ?? body.insertRow()
      cells.forEach((cell, c) => text(row.cells[c] ?? row.appendChild(c ? make("td") : make("th", {scope: "row"})), cell))
    })
  }
  // Add them to what a chart draws; `range` is that of its values.
  function into(lines, texts, range) {
    if (!isOpen()) return
    const color = colour("accent")
    for (const [i, time] of at.entries()) {
      lines.xs.push([time, time])
      lines.ys.push([range.start, range.end])
      lines.color.push(color)
      lines.dash.push("solid")
      for (const [field, value] of Object.entries({xs: time, ys: range.end, text: "AB"[i], color, align: i ? "left" : "right", offset: i ? 4 : -4})) texts[field].push(value)
      texts.drop[texts.text.length - 1] = 17   // below those of marks
    }
  }
  function draw() {               // many moves of a pointer are one picture
    if (!isAsked) requestAnimationFrame(() => { isAsked = false; linemon.charts.redraw() })
    isAsked = true
  }
  function note() {
    const here = new URL(location)
    if (isOpen()) here.searchParams.set("cursors", `${at.map((time) => Math.round(time - (linemon.zero ?? 0)))}:${menu.keyOf(chart)}`)
    else here.searchParams.delete("cursors")
    history.replaceState(null, "", here)
  }
  function put(where, ...times) {
    chart = where
    at = times
    isFollowing = false
    $("cursors").hidden = !isOpen()
    document.body.classList.toggle("has-cursors", isOpen())
    note()
    draw()
  }
  function close() {
    if ($("cursors").contains(document.activeElement)) document.activeElement.blur()   // keys are the page's again
    put(-1)
  }
  // Without a pointer: at a third and two thirds of what is in sight, to be moved by the sliders.
  function open(where) {
    const {start, end} = linemon.time.range, third = (end - start) / 3
    put(where, start + third, end - third)
    $("cursors").querySelector("input").focus()
  }
  function press() {
    const pointer = linemon.values.pointer()
    if (isFollowing) put(chart, ...at)
    else if (!pointer) isOpen() ? close() : open(Math.max(0, menu.pointed()))
    else {
      put(pointer.chart, pointer.time, pointer.time)
      isFollowing = true
    }
  }
  function hover(pointer) {
    if (!isFollowing || !pointer) return
    at[1] = pointer.time
    draw()
  }
  // A tap on a chart moves the nearer one there.
  function tap(x) {
    if (!isOpen()) return
    if (!isFollowing) at[Math.abs(x - at[0]) < Math.abs(x - at[1]) ? 0 : 1] = x
    put(chart, ...at)
  }
  function restore() {
    const given = new URLSearchParams(location.search).get("cursors") ?? "", colon = given.indexOf(":"), times = given.slice(0, colon).split(",").map((time) => +time + (linemon.zero ?? 0))
    const where = menu.chartOf(given.slice(colon + 1))
    if (where >= 0 && times.length == 2 && times.every((time) => time > 0)) put(where, ...times)
    else if (isOpen()) close()
  }
  function build() {
    const heads = ["line", "at A", "at B", "B − A", "per second"].map((head) => make("th", {scope: "col"}, head))
    const sliders = ["A", "B"].map((name, i) => {
      const slider = make("input", {type: "range", "aria-label": `Cursor ${name}`})
      slider.addEventListener("input", () => { at[i] = +slider.value; put(chart, ...at) })
      return make("label", {}, `${name} `, slider, make("output"))
    })
    const shut = make("button", {type: "button", "aria-label": "Close the cursors"}, "×")
    shut.addEventListener("click", close)
    const head = make("div", {class: "head"}, make("h2", {id: "cursors-title"}, "Between two cursors ", make("span", {id: "cursors-of", class: "muted"})), ...sliders, make("output", {id: "cursors-between"}), make("span", {class: "grow"}), shut)
    const table = make("table", {}, make("thead", {}, make("tr", {}, ...heads)), make("tbody"))
    const section = make("section", {id: "cursors", class: "card live-only", "aria-labelledby": "cursors-title"}, head, make("div", {class: "scroll", tabindex: 0, role: "region", "aria-label": "The lines at the two cursors"}, table))
    section.hidden = true
    document.body.append(section)
  }
  function start() {
    build()
    menu.add((where) => [{text: isOpen() ? "Close the cursors" : "Two cursors", key: "d", does: () => isOpen() ? close() : open(where)}])
    linemon.about.panels.forEach((_, number) => model(`chart${number}`).on_event("tap", ({x}) => tap(x)))
    keys.d = press
    addEventListener("popstate", restore)
    addEventListener("keydown", ({key}) => { if (key == "Escape" && isOpen() && !document.querySelector(":popover-open, dialog[open]")) close() })
    restore()
  }
  return {start, show, into, hover}
})()
