"use strict"
// The overview: a row per source, a cell per host.
linemon.pages.overview = (() => {
  const {$, all, text, make, model, fill, colour, format, age, stamped, now, S} = linemon
  const MAP_FROM = 25, CELL = 16  // hosts, below which their rows say it all; pixels
  const TITLES = ["CPU", "Memory", "Network in"]
  let names = {rows: [], cells: [], more: 0, all: 0}, rows = [], numbers = new Float64Array(0), cells = new Float64Array(0)
  let sparks = null, perRow = 1, hasData = false, hasNewSparks = false, isBuilt = false

  function build(listed) {
    names = listed
    rows = []
    for (const isHost of [true, false]) {
      const mine = listed.rows.filter((row) => row.is_host == isHost), table = $(isHost ? "hosts" : "others")
      table.closest("section").hidden = mine.length == 0
      table.tBodies[0].replaceChildren(...mine.map((row) => line(row)))
    }
    const order = new Map(listed.rows.map((row, i) => [row.name, i]))
    rows.sort((a, b) => order.get(a.name) - order.get(b.name))
    $("empty").hidden = listed.all > 0
    const none = listed.all > 0 && listed.rows.length == 0
    $("more").hidden = listed.more == 0 && !none
    text($("more"), none ? "No source and no column has that in its name." : `and ${listed.more} more: type to find them`)
    text($("count"), listed.all == 1 ? "1 source" : `${listed.all} sources`)
    $("hidden").hidden = listed.hidden == 0
    text($("hidden"), `Show ${listed.hidden} hidden`)
    sparks = null
  }
  function line(row) {
    const link = make("a", {href: linemon.search.sourceAddress(row.name)}, row.name)
    const values = [0, 1, 2].map((i) => {
      const cell = make("div", {class: "cell"}), value = make("span", {class: "value"}), label = make("span", {class: "label muted"})
      if (i < row.labels.length && !row.is_host) label.textContent = i == 2 && row.width > 3 ? `${row.labels[i]} +${row.width - 3}` : row.labels[i]
      cell.append(label, value, make("span", {class: "spark"}))
      return {cell, value, spark: cell.lastChild}
    })
    const seen = make("td", {class: "seen"})
    const dot = make("span", {class: "dot"}), head = make("th", {scope: "row"}, dot, ...row.kept.pinned ? [make("span", {class: "pin", title: "pinned", role: "img", "aria-label": "pinned"}, "★")] : [], link)
    const element = make("tr", row.kept.hidden ? {class: "hidden"} : {}, head, ...values.map(({cell}) => make("td", {class: "measure"}, cell)), seen)
    element.addEventListener("click", () => link.click())
    link.addEventListener("click", (event) => event.stopPropagation())
    if (linemon.verbs.may) head.append(linemon.verbs.button(row.name, row.kept))
    rows.push({...row, element, dot, values, seen})
    return element
  }
  function take(cut, floats) {
    const [count, many, hasSparks] = cut(3)
    numbers = cut(6 * count).slice()
    cells = cut(3 * many).slice()
    if (hasSparks) sparks = floats(count * 3 * 60).slice()
    hasNewSparks ||= hasSparks > 0
    hasData = true
  }
  function draw() {
    show()
    if (hasNewSparks) drawSparks()
    hasNewSparks = false
    map()
    if (!isBuilt && rows.length) scrollBack()
    isBuilt ||= rows.length > 0
  }
  function show() {
    const time = now()
    rows.forEach((row, i) => {
      const [came, newest, patience, ...values] = numbers.subarray(6 * i, 6 * i + 6)
      const isSilent = !(time - came < patience) || stamped(newest) != ""
      values.forEach((value, c) => text(row.values[c].value, c < row.units.length ? format(value, row.units[c], 5) : ""))
      text(row.seen, !(came >= 0) ? (newest >= 0 ? "unknown" : "no rows") : stamped(newest).slice(0, 12) || (isSilent ? `no data for ${age(came)}` : `${age(came)} ago`))
      row.element.classList.toggle("silent", isSilent)
      const level = ["", "warning", "critical"][linemon.alarms.levelOf(row.name)]
      if (row.dot.dataset.level != level) {
        row.dot.dataset.level = level
        row.dot.title = level && `an alarm fires: ${level}`
        text(row.dot, level && `${level} alarm`)
      }
      row.seen.title = came >= 0 ? `newest row: ${new Date(came).toLocaleString()}` : ""
    })
  }
  function drawSparks() {
    if (!sparks) return
    const points = Float64Array.from({length: 60}, (_, i) => i)
    linemon.sparks("sparks", $("rows"), rows.flatMap((row, i) => row.labels.map((_, c) => ({
      element: row.values[c].spark, times: points, values: sparks.subarray((3 * i + c) * 60, (3 * i + c + 1) * 60), start: 0, end: 59, gap: () => 3,
      color: colour(`line-${c}`), isPercent: row.units[c] == "%",
    }))))
  }
  // One cell per host, from calm to busy; those that are silent stand out by their edge, not by colour alone.
  function map() {
    const section = $("map-section"), count = names.cells.length
    section.hidden = count < MAP_FROM
    if (section.hidden || cells.length != 3 * count) return
    const holder = $("map"), width = holder.clientWidth, plot = model("map")
    perRow = Math.max(1, Math.floor(width / CELL))
    const height = Math.ceil(count / perRow) * CELL
    holder.style.height = `${height}px`
    plot.x_range.setv({start: 0, end: width})
    plot.y_range.setv({start: height, end: 0})
    const heat = [0, 1, 2, 3, 4].map((i) => colour(`heat-${i}`)), time = now()
    const data = {xs: [], ys: [], color: [], size: []}
    for (let i = 0; i < count; i++) {
      const [value, came, patience] = cells.subarray(3 * i, 3 * i + 3), isSilent = !(time - came < patience)
      data.xs.push((i % perRow + 0.5) * CELL)
      data.ys.push((Math.floor(i / perRow) + 0.5) * CELL)
      data.color.push(isSilent ? colour("bad") : heat[Math.max(0, Math.min(4, Math.floor(value / 20)))] ?? heat[0])
      data.size.push(isSilent ? 6 : CELL - 2)
    }
    fill("cells of map", data)
  }
  const under = (event) => {
    const i = Math.floor(event.sy / CELL) * perRow + Math.floor(event.sx / CELL)
    return event.sx < perRow * CELL ? names.cells[i] && i : undefined
  }
  function hover(event) {
    const i = event && under(event), tip = $("tip")
    tip.hidden = i == null
    if (tip.hidden) return
    text(tip, `${names.cells[i]}: ${format(cells[3 * i], "%")}, ${age(cells[3 * i + 1])} ago`)
    const box = $("map").getBoundingClientRect()
    tip.style.left = `${Math.min(box.left + event.sx + 12, innerWidth - tip.offsetWidth - 8)}px`
    tip.style.top = `${box.top + event.sy + 14}px`
  }
  function sort(by) {
    if (!all("[data-sort]").some(({dataset}) => dataset.sort == by)) return
    for (const each of all("[data-sort]")) each.closest("th").setAttribute("aria-sort", each.dataset.sort != by ? "none" : by == "name" ? "ascending" : "descending")
    model("wishes").sort = by
  }
  // Rows come after the browser has looked for the place to go back to.
  function scrollBack() {
    const [{type}] = performance.getEntriesByType("navigation")
    if (type != "navigate") scrollTo(0, +sessionStorage.getItem("linemon.scroll"))
  }
  function start() {
    linemon.search.connect()
    linemon.health.start()
    linemon.strange.connect()
    const answers = model("answers")
    answers.properties.names.change.connect(() => build(JSON.parse(answers.names)))
    const plot = model("map")
    plot.on_event("mousemove", hover)
    plot.on_event("mouseleave", () => hover(null))
    plot.on_event("tap", (event) => { const i = under(event); if (i != null) location.href = linemon.search.sourceAddress(names.cells[i]) })
    for (const button of all("[data-sort]")) button.addEventListener("click", () => {
      sort(button.dataset.sort)
      linemon.search.note("sort", button.dataset.sort == "name" ? "" : button.dataset.sort)
    })
    sort(new URLSearchParams(location.search).get("sort") ?? "name")
    $("hidden").addEventListener("click", () => {
      const isOn = $("hidden").getAttribute("aria-pressed") != "true"
      $("hidden").setAttribute("aria-pressed", isOn)
      model("wishes").has_hidden = isOn
    })
    addEventListener("pagehide", () => sessionStorage.setItem("linemon.scroll", scrollY))
    new ResizeObserver(() => { drawSparks(); map() }).observe($("rows"))
    setInterval(show, S)
    return 300
  }
  const state = () => hasData ? "live" : "waiting"
  return {start, take, draw, redraw: () => { show(); drawSparks(); map() }, state}
})()
