"use strict"
// The page's own script: cuts the packed array of each tick, moves the charts, the legends and the list of sources.
// Texts that came in over the wire go through textContent only.
linemon.receive = (() => {
  const {format, duration, step, date, seconds} = linemon
  const REPLACE = 1, RELOAD = 2   // what a tick may be beside more rows
  const S = 1000, H = 3600 * S
  const MOST_POINTS = 4800        // per line; beyond, the server is asked for a thinned window
  const MARKED_POINTS = 100       // in sight; with more, markers would hide the line
  const LOCAL = {sync: false}     // what the browser does with its models is no business of the server
  const $ = (id) => document.getElementById(id)
  const all = (selector) => document.querySelectorAll(selector)
  const text = (element, value) => { if (element.textContent != value) element.textContent = value }

  // -- light and dark

  const system = matchMedia("(prefers-color-scheme: dark)")
  const scheme = () => localStorage.getItem("linemon.scheme") ?? "auto"
  function colour() {
    document.documentElement.dataset.scheme = scheme() == "auto" ? (system.matches ? "dark" : "light") : scheme()
    const button = $("scheme")
    if (button) {
      text(button, {auto: "◐ Auto", light: "☀ Light", dark: "☾ Dark"}[scheme()])
      button.setAttribute("aria-label", `Colours: ${scheme()}`)
    }
    if (page == null) return
    const style = getComputedStyle(document.documentElement)
    for (const chart of page.charts) {
      lines(chart).forEach(([, renderers], i) => {
        const value = style.getPropertyValue(`--line-${i % 8}`).trim()
        for (const {glyph} of renderers) glyph.setv("fill_color" in glyph ? {fill_color: value} : {line_color: value}, LOCAL)
      })
    }
  }
  system.addEventListener("change", () => colour())

  // -- what is drawn

  let page = null                 // the models, since the first tick
  let points = new linemon.Points([])
  let latest = []                 // newest value of every column of the source
  let span = 0                    // seconds shown while live; 0 = all
  let isLive = true, isLost = false, isAsking = false, clockOffset = 0, pointer = null

  // the renderers of each line of a chart, [["c3", [line, marker]], …]
  function lines(chart) {
    const found = new Map()
    for (const renderer of chart.renderers) found.set(renderer.name, [...(found.get(renderer.name) ?? []), renderer])
    return [...found]
  }
  function take(kind, times, values) {
    const old = isLive && span ? points.before(points.newest - 1.1 * span * S) : 0
    points.add(times, values, kind == REPLACE ? points.times.length : old)
    const lines = Object.fromEntries(points.names.map((name) => [name, points.line(name)]))
    page.data.setv({data: {t: points.times, ...lines}}, LOCAL)
    if (kind == REPLACE) isAsking = false
    else if (points.times.length > MOST_POINTS && !isAsking) {
      isAsking = true
      page.wishes.refill += 1
    }
  }
  function move() {
    const {times, newest} = points
    if (isLive && times.length) {
      const start = span ? newest - span * S : Math.min(times[0], newest - S)
      page.time.setv({start, end: newest + (newest - start) * 0.005}, LOCAL)
    }
    const from = Math.max(0, points.before(page.time.start) - 1), to = Math.min(times.length, points.before(page.time.end) + 1)
    page.charts.forEach((chart, n) => {
      let low = Infinity, high = -Infinity
      for (const [name, [renderer, marker]] of lines(chart)) {
        const isMarked = renderer.visible && to - from <= MARKED_POINTS
        if (marker && marker.visible != isMarked) marker.setv({visible: isMarked}, LOCAL)
        if (!renderer.visible) continue
        const values = points.values[name]
        for (let i = from; i < to; i++) {
          const value = values[i]
          if (value < low) low = value
          if (value > high) high = value
        }
      }
      const [start, end] = rangeFor(low, high, page.about.panels[n].unit)
      if (chart.y_range.start != start || chart.y_range.end != end) chart.y_range.setv({start, end}, LOCAL)
    })
  }
  // Round ends, so that they move seldom; from zero where that costs little.
  function rangeFor(low, high, unit) {
    if (!(low <= high)) return [0, 1]
    if (low >= 0 && low <= 0.6 * high) low = 0
    if (low == high) { const room = Math.abs(low) * 0.1 || 1; high += room; if (low != 0) low -= room }
    const room = (high - low) * 0.03
    const every = step(high - low + room, unit)
    const top = unit == "%" && high <= 100 ? 100 : Infinity
    const start = Math.floor((low == 0 ? 0 : low - room) / every) * every
    return [low >= 0 ? Math.max(0, start) : start, Math.min(top, Math.ceil((high + room) / every) * every)]
  }

  // -- numbers beside the charts

  function values(index = null) {
    for (const element of all(".line, dd[data-column]")) {
      const number = +element.dataset.column, past = points.values[`c${number}`]
      const value = index != null && past ? past[index] : latest[number]
      const place = element.tagName == "DD" ? element : element.querySelector("output"), shown = format(value, page.about.units[number])
      text(place, shown)
      if (!(shown.length <= place.dataset.length)) {  // the widest yet: legends do not jump
        place.dataset.length = shown.length
        place.style.minWidth = `${shown.length}ch`
      }
    }
  }
  function hover(n, event) {
    pointer = event && event.x >= page.time.start && event.x <= page.time.end && points.times.length ? {n, event} : null
    const tip = $("tip")
    tip.hidden = pointer == null
    if (pointer == null) return values()
    const t = points.times
    let i = points.before(event.x)
    if (i > 0 && (i == t.length || event.x - t[i - 1] < t[i] - event.x)) i--
    values(i)
    const table = document.createElement("table"), when = new Date(t[i])
    const fraction = t[i] % S ? `.${String(when.getMilliseconds()).padStart(3, "0")}` : ""
    table.createCaption().textContent = `${date(when)} ${seconds(when)}${fraction}`
    for (const line of all(`figure:has(#plot${n}) .line[aria-pressed="true"]`)) {
      const row = table.insertRow(), swatch = line.querySelector("i").cloneNode()
      swatch.style.setProperty("--color", line.style.getPropertyValue("--color"))
      row.insertCell().append(swatch)
      row.insertCell().textContent = line.querySelector("span").textContent
      row.insertCell().textContent = line.querySelector("output").textContent
    }
    tip.replaceChildren(table)
    const box = $(`plot${n}`).getBoundingClientRect(), left = box.left + event.sx
    tip.style.left = `${left + tip.offsetWidth + 24 > innerWidth ? left - tip.offsetWidth - 14 : left + 14}px`
    tip.style.top = `${Math.max(4, Math.min(box.top + event.sy - 10, innerHeight - tip.offsetHeight - 4))}px`
  }

  // -- the list of sources

  let listed = []                 // the elements of each source in the list
  const address = (source) => {
    const pressed = document.querySelector('.window[aria-pressed="true"]')
    return `?${new URLSearchParams({source, window: pressed.dataset.window})}`
  }
  function list(newestRows, more) {
    const {name: names, columns: widths, unit: units} = page.names.data
    if (listed.length != names.length || listed.some((each, i) => each.name != names[i] || each.width != widths[i])) {
      const known = new Set(listed.map((each) => each.name))
      const isFirst = known.size == 0 || $("find").value != ""
      listed = names.map((name, i) => {
        const item = document.createElement("li"), link = document.createElement("a")
        const parts = ["name", "value", "age"].map((part) => {
          const element = document.createElement("span")
          element.className = part
          link.append(element)
          return element
        })
        link.href = address(name)
        link.title = parts[0].textContent = name
        if (name == page.about.source) link.setAttribute("aria-current", "page")
        if (!isFirst && !known.has(name)) link.className = "new"
        item.append(link)
        return {name, width: widths[i], item, link, value: parts[1], age: parts[2]}
      })
      $("sources").replaceChildren(...listed.map((each) => each.item))
    }
    text($("count"), names.length + more)
    $("find").hidden = names.length + more <= 10 && $("find").value == ""
    $("more").hidden = more == 0
    text($("more"), `and ${more} more: type to find them`)
    listed.forEach((each, i) => {
      each.newest = newestRows[2 * i + 1]
      text(each.value, each.width == 1 ? format(newestRows[2 * i], units[i], 6) : `${each.width} columns`)
    })
    ages()
  }
  const age = (time) => duration(Math.max(0, Math.floor((Date.now() + clockOffset - time) / S))).replace(/(min|h) .*/, "$1")
  function ages() {
    for (const each of listed) text(each.age, each.newest >= 0 ? `${age(each.newest)} ago` : "no rows")
    const shown = listed.find((each) => each.name == page?.about.source)?.newest ?? points.newest
    text($("age"), shown >= 0 ? `newest row ${age(shown)} ago` : "")
    const isFresh = shown >= 0 && Date.now() + clockOffset - shown < Math.max(10 * S, Math.min(linemon.Points.gap(points.times), H))
    const state = isLost ? "lost" : page == null ? "waiting" : !isLive ? "paused" : isFresh ? "live" : "waiting"
    $("status").dataset.state = state
    text($("status"), {lost: "connection lost", waiting: page ? "waiting for data" : "connecting…", paused: "paused", live: "live"}[state])
  }

  // -- one message from the server

  function receive(models) {
    const packed = models.pipe.data.packed
    if (packed.length == 0) return
    if (page == null) start(models)
    const array = new Float64Array(packed.buffer, packed.byteOffset, packed.length)
    let at = 0
    const cut = (length) => array.subarray(at, at += length)
    const [kind, number, now, sources, more, known, rows] = cut(7)
    if (kind == RELOAD) return location.reload()
    clockOffset = now - Date.now()
    const newestRows = cut(2 * sources)
    cut(known).forEach((value, i) => { if (!Number.isNaN(value) || kind == REPLACE) latest[i] = value })
    list(newestRows, more)
    if (rows || kind == REPLACE) {
      const times = cut(rows)
      take(kind, times, cut(rows * page.about.columns.length))
      move()
    }
    if (pointer) hover(pointer.n, pointer.event)
    else values()
    // A hidden tab draws no frames, answers nothing, and so is sent nothing until it is looked at again.
    requestAnimationFrame(() => { if (number - page.wishes.ack >= 2) page.wishes.ack = number })
  }

  function start(models) {
    page = models
    points = new linemon.Points(page.about.columns)
    span = page.wishes.window
    colour()
    const look = () => {          // paused: ask for just what is in sight, in full detail
      const {start, end} = page.time
      page.wishes.view = [start, end]
    }
    let soon = 0
    const pause = () => {
      setLive(false)
      clearTimeout(soon)
      soon = setTimeout(look, 200)
      move()
    }
    function setLive(live) {
      isLive = live
      text($("live"), live ? "Pause" : "Go live")
      $("live").setAttribute("aria-pressed", live)
      ages()
    }
    $("live").addEventListener("click", () => {
      clearTimeout(soon)
      setLive(!isLive)
      if (isLive) page.wishes.view = []
      else look()
    })
    for (const button of all(".window")) button.addEventListener("click", () => {
      for (const each of all(".window")) each.setAttribute("aria-pressed", each == button)
      for (const each of listed) each.link.href = address(each.name)
      const here = new URL(location)
      here.searchParams.set("window", button.dataset.window)
      history.replaceState(null, "", here)
      clearTimeout(soon)
      setLive(true)
      span = +button.dataset.seconds
      page.wishes.view = []
      page.wishes.window = span
      move()
    })
    $("find").addEventListener("input", (event) => {
      page.wishes.find = event.target.value
    })
    page.charts.forEach((chart, n) => {
      chart.on_event("mousemove", (event) => hover(n, event))
      chart.on_event("mouseleave", () => hover(n, null))
      chart.on_event("pan", pause)
      chart.on_event("wheel", (event) => { if (event.modifiers.ctrl) pause() })
      if (matchMedia("(pointer: coarse)").matches)   // a finger scrolls the page
        for (const tool of chart.toolbar.tools) if (tool.type != "CrosshairTool") tool.setv({active: false}, LOCAL)
    })
    const hidden = `linemon.hidden.${page.about.source}`
    const off = new Set(JSON.parse(sessionStorage.getItem(hidden) ?? "[]"))
    const show = (button) => {
      const isOn = !off.has(button.dataset.column)
      button.setAttribute("aria-pressed", isOn)
      for (const chart of page.charts) for (const [name, [renderer]] of lines(chart))
        if (name == `c${button.dataset.column}`) renderer.setv({visible: isOn}, LOCAL)
    }
    for (const button of all(".line")) {
      show(button)
      button.addEventListener("click", () => {
        if (!off.delete(button.dataset.column)) off.add(button.dataset.column)
        sessionStorage.setItem(hidden, JSON.stringify([...off]))
        show(button)
        move()
      })
    }
    Bokeh.documents[0].on_event("connection_lost", lost)
  }
  // A page that lost its server starts anew as soon as there is one: the rings still hold what it showed.
  async function lost() {
    isLost = true
    ages()
    const {src} = document.querySelector("script[src]")
    for (;;) {
      await new Promise((done) => setTimeout(done, S))
      try {
        if ((await fetch(src, {method: "HEAD", cache: "no-store"})).ok) return location.reload()
      } catch { /* not yet */ }
    }
  }

  colour()
  addEventListener("DOMContentLoaded", () => {
    colour()
    $("scheme").addEventListener("click", () => {
      const next = {auto: "light", light: "dark", dark: "auto"}[scheme()]
      if (next == "auto") localStorage.removeItem("linemon.scheme")
      else localStorage.setItem("linemon.scheme", next)
      colour()
    })
    setInterval(ages, S)
  })
  return receive
})()
