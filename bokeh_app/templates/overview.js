"use strict"
// The overview: a cell per host, and a row per source; of these only what is in sight is here, and is sent.
linemon.pages.overview = (() => {
  const {$, all, text, make, model, fill, colour, format, age, now, S} = linemon
  const MAP_FROM = 25, MANY = 400 // hosts: below that their rows say it all; from there on cells are smaller
  const SILENT = 255, UNKNOWN = 254   // as overview.py writes cells
  let cells = [], values = new Uint8Array(0), size = 16, perRow = 1, hasData = false

  function take(cut, floats) {
    const [count, width, many, hasSparks] = cut(4)
    linemon.rows.take(cut(width * count), width, () => {
      const found = cut(Math.ceil(many / 8))
      values = new Uint8Array(found.buffer, found.byteOffset, many).slice()
      return hasSparks ? floats(count * 3 * 60).slice() : null
    })
    hasData = true
  }
  function draw() {
    linemon.rows.draw()
    map()
  }
  // One cell per host, from calm to busy; those that are silent stand out by their size, not by colour alone.
  function map() {
    const section = $("map-section"), count = cells.length
    section.hidden = count < MAP_FROM
    if (section.hidden || values.length != count) return
    const holder = $("map"), width = holder.clientWidth, plot = model("map")
    size = count < MANY ? 16 : 8
    perRow = Math.max(1, Math.floor(width / size))
    const height = Math.ceil(count / perRow) * size
    holder.style.height = `${height}px`
    plot.x_range.setv({start: 0, end: width})
    plot.y_range.setv({start: height, end: 0})
    const heat = [0, 1, 2, 3, 4].map((i) => colour(`heat-${i}`)), bad = colour("bad")
    const data = {xs: [], ys: [], color: [], size: []}, whole = size - (size > 8 ? 2 : 1)
    values.forEach((value, i) => {
      const level = linemon.alarms.levelOf(cells[i]), cell = (color, size) => { data.xs.push(x); data.ys.push(y); data.color.push(color); data.size.push(size) }
      const x = (i % perRow + 0.5) * size, y = (Math.floor(i / perRow) + 0.5) * size
      if (level) cell(linemon.limits.tint(level), whole)   // in trouble: a frame, thicker where it is critical
      cell(value == SILENT ? bad : value == UNKNOWN ? heat[0] : heat[Math.min(4, Math.floor(value / 20))], value == SILENT ? size * 0.375 : level ? whole * (level == 2 ? 0.36 : 0.64) : whole)
    })
    const key = `${width} ${data.color.join()}`
    if (key != drawn) fill("cells of map", data)
    drawn = key
  }
  let drawn = ""
  const under = (event) => {
    const i = Math.floor(event.sy / size) * perRow + Math.floor(event.sx / size)
    return event.sx < perRow * size && cells[i] != null ? i : undefined
  }
  function hover(event) {
    const i = event && under(event), tip = $("tip")
    tip.hidden = i == null
    if (tip.hidden) return
    const trouble = ["", ", in trouble: a warning", ", in trouble: critical"][linemon.alarms.levelOf(cells[i])]
    text(tip, `${cells[i]}: ${values[i] == SILENT ? "silent" : values[i] == UNKNOWN ? "unknown" : `${values[i]} %`}${trouble}`)
    const box = $("map").getBoundingClientRect()
    tip.style.left = `${Math.min(box.left + event.sx + 12, innerWidth - tip.offsetWidth - 8)}px`
    tip.style.top = `${box.top + event.sy + 14}px`
  }
  function start() {
    linemon.search.connect()
    linemon.health.start()
    linemon.strange.connect()
    const answers = model("answers")
    answers.properties.cells.change.connect(() => { cells = JSON.parse(answers.cells) })
    const plot = model("map")
    plot.on_event("mousemove", hover)
    plot.on_event("mouseleave", () => hover(null))
    plot.on_event("tap", (event) => { const i = under(event); if (i != null) location.href = linemon.search.sourceAddress(cells[i]) })
    linemon.rows.start()
    new ResizeObserver(map).observe($("map"))
    return 300
  }
  const state = () => hasData ? "live" : "waiting"
  return {start, take, draw, redraw: () => { drawn = ""; linemon.rows.draw(); map() }, state}
})()
