"use strict"
// What every page does: the colours, the connection, and what state it is in. Texts that came in over the wire go
// through textContent only.
Object.assign(linemon, (() => {
  const {duration, date, seconds} = linemon
  const REPLACE = 1, RELOAD = 2   // what a message may be beside more rows
  const S = 1000, ANSWER_EVERY = 8
  const LATE_MS = 8 * S, FRESH_MS = 240 * S   // when a page without a connection says so; how long its token is good
  const $ = (id) => document.getElementById(id)
  const all = (selector) => [...document.querySelectorAll(selector)]
  // In the text that is there: a new one would have the browser look at all rules of the page that ask what is in what.
  const text = (element, value) => {
    const {firstChild: there} = element
    if (there instanceof Text && !there.nextSibling && value) { if (there.data != value) there.data = value }
    else if (element.textContent != value) element.textContent = value
  }
  const make = (name, attributes = {}, ...children) => {
    const element = document.createElement(name)
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value)
    element.append(...children)
    return element
  }
  const models = new Map()        // by their names, which stay
  const model = (name) => {
    if (!models.has(name)) {
      const found = Bokeh.documents.map((doc) => doc.get_model_by_name(name)).find(Boolean)
      if (!found) return null
      models.set(name, found)
    }
    return models.get(name)
  }
  // The view of a figure; null until it is made.
  const drawing = (name) => { const {id} = model(name), {index} = Bokeh; return (index.find_one_by_id ? index.find_one_by_id(id) : index[id]) ?? null }
  // New data for the source of a glyph; none again costs nothing.
  const fill = (name, data) => {
    const source = model(name)
    const isEmpty = Object.values(data)[0].length == 0
    if (!isEmpty || source.get_length() > 0) source.data = data
  }

  // -- light and dark

  const system = matchMedia("(prefers-color-scheme: dark)")
  const scheme = () => localStorage.getItem("linemon.scheme") ?? "auto"
  let palette = {}
  const isDark = () => document.documentElement.dataset.scheme == "dark"
  const colour = (name) => palette[name] ??= getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim()
  function dress() {
    document.documentElement.dataset.scheme = scheme() == "auto" ? (system.matches ? "dark" : "light") : scheme()
    palette = {}
    const button = $("scheme")
    if (!button) return
    text(button, {auto: "◐", light: "☀", dark: "☾"}[scheme()])
    button.setAttribute("aria-label", `Colours: ${scheme()}`)
    button.title = {auto: "Colours: as the system", light: "Colours: light", dark: "Colours: dark"}[scheme()]
    if (isStarted) linemon.page.redraw()
  }
  function nextScheme() {
    const next = {auto: "light", light: "dark", dark: "auto"}[scheme()]
    if (next == "auto") localStorage.removeItem("linemon.scheme")
    else localStorage.setItem("linemon.scheme", next)
    dress()
  }

  // -- the connection. `linemon.page` is what the page shows: start, take, redraw, state

  let isThereNow, isStarted = false, isLost = false, isRefused = false, isDrawing = false, clockOffset = NaN, delay = 0
  const now = () => Date.now() + (clockOffset || 0)
  const age = (time) => duration(Math.max(0, Math.floor((now() - time) / S))).replace(/(min|h) .*/, "$1")

  const FIRST = Date.UTC(2000)    // stamps before are no times of rows that came now
  const stamped = (time) => time < FIRST ? `stamped ${date(new Date(time))}` : ""
  const since = (time) => now() - time < 86400 * S ? seconds(new Date(time)) : `${date(new Date(time))} ${seconds(new Date(time)).slice(0, 5)}`

  // Called when the document is there and drawn; the server sends nothing before it is told how wide the page is.
  const started = new Promise((done) => { isThereNow = done })
  function start() {
    linemon.figures.make()
    isStarted = true
    isThereNow()
    $("refused").hidden = true
    const pixels = linemon.page.start()
    dress()
    model("answers").document.on_event("connection_lost", lost)
    const answers = model("answers")
    linemon.alarms.connect()
    linemon.devices.connect()
    answers.properties.packed.change.connect(() => receive(answers.packed))
    model("wishes").pixels = Math.max(50, Math.round(pixels))
  }
  function unpack(packed) {
    const array = new Float64Array(Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0)).buffer)
    let at = 0
    const take = (length) => array.subarray(at, at += length)
    const floats = (length) => {  // two in each
      const found = new Float32Array(array.buffer, array.byteOffset + 8 * at, length)
      at += Math.ceil(length / 2)
      return found
    }
    return {take, floats}
  }
  function receive(packed) {
    const {take, floats} = unpack(packed), [kind, number, sent] = take(3)
    if (kind == RELOAD) return performance.now() < doneAt || location.reload()
    // How far the clocks are apart is seen in the quickest message; what another takes longer is how far it is behind.
    const offset = sent - Date.now()
    clockOffset = clockOffset > offset ? clockOffset - Math.min(5, clockOffset - offset) : offset
    delay = now() - sent
    linemon.received = number
    linemon.page.take(take, floats, kind == REPLACE)
    if ($("status").dataset.state != "live") tell()
    if (!isDrawing) for (const step of [draw, linemon.figures.paint]) requestAnimationFrame(step)   // in one frame
    isDrawing = true
  }
  // Several messages are drawn at once. A hidden tab draws no frames, answers nothing, and so is sent nothing until it
  // is looked at again.
  function draw() {
    const wishes = model("wishes")
    isDrawing = false
    linemon.figures.gather()
    linemon.page.draw()
    linemon.figures.show()
    if (linemon.received - wishes.ack >= ANSWER_EVERY) wishes.ack = linemon.received
  }
  // A page that lost its server starts anew as soon as there is one: the rings still hold what it showed, and its
  // address what it looked at.
  async function lost() {
    isLost = true
    lose({error: "The connection was lost: look whether that was done."})
    tell()
    await until(isThere)
    location.reload()
  }
  // A page whose websocket does not get through, as behind a proxy that passes on no upgrade, says so, and tries again.
  async function refused() {
    if (isStarted) return
    isRefused = true
    $("refused").hidden = false
    tell()
    await until(() => isStarted || (performance.now() < FRESH_MS ? getsThrough() : isThere()))
    if (!isStarted) location.reload()
  }
  async function until(check) {   // ever more seldom, and not while nobody looks
    for (let wait = S; ; wait = Math.min(1.5 * wait, 15 * S)) {
      await new Promise((done) => setTimeout(done, wait))
      if (document.visibilityState == "visible" && await check()) return
    }
  }
  const isThere = () => fetch(document.querySelector("script[src]").src, {method: "HEAD", cache: "no-store"}).then(({ok}) => ok, () => false)
  const getsThrough = () => new Promise((done) => {
    const token = all("script").map((script) => /"token"\s*:\s*"([\w.-]+)"/.exec(script.textContent)?.[1]).find(Boolean)
    const socket = new WebSocket(`${location.origin.replace("http", "ws")}${location.pathname.replace(/\/$/, "")}/ws`, ["bokeh", token])
    socket.onopen = () => { socket.close(); done(true) }
    socket.onerror = () => done(false)
  })
  // Have the server do something; its answer, `error` says why that could not be.
  // What was done may lead to another page: until then this one is not built anew, which would lead back to its address.
  const ASK_MS = 30 * S, LED_MS = 2 * S
  let asked = 0, doneAt = 0, lose
  const loss = new Promise((done) => { lose = done })
  async function ask(what) {
    await started
    if (isLost) return {error: "There is no connection: nothing was done."}
    const number = asked += 1, {told} = model("answers").properties
    doneAt = performance.now() + ASK_MS
    model("wishes").ask = JSON.stringify({...what, number})
    const heard = new Promise((done) => {
      const hear = () => {
        const said = JSON.parse(model("answers").told)
        if (said.number != number) return
        told.change.disconnect(hear)
        doneAt = performance.now() + LED_MS
        done(said)
      }
      told.change.connect(hear)
    })
    return Promise.race([heard, loss])
  }
  const SAID = {lost: "connection lost", refused: "no connection", waiting: "waiting for data", starting: "connecting…", paused: "paused", live: "live", behind: "behind"}
  function tell() {
    const state = isLost ? "lost" : isRefused && !isStarted ? "refused" : !isStarted ? "starting" : delay > 3 * S ? "behind" : linemon.page.state()
    const place = $("status")
    place.dataset.state = state
    linemon.limits.tell(state)
    text(place, state == "behind" ? `${duration(Math.round(delay / S))} behind` : SAID[state])
    const wrong = $("clock")
    if (Math.abs(clockOffset) > 5 * S) {
      wrong.hidden = false
      text(wrong, `clocks differ: this browser is ${duration(Math.round(Math.abs(clockOffset) / S))} ${clockOffset > 0 ? "behind" : "ahead"}`)
    } else wrong.hidden = true
  }
  function zone() {
    const minutes = -new Date().getTimezoneOffset(), size = Math.abs(minutes)
    const offset = `UTC${minutes < 0 ? "−" : "+"}${Math.floor(size / 60)}${size % 60 ? `:${size % 60}` : ""}`
    const {timeZone} = Intl.DateTimeFormat().resolvedOptions()
    return timeZone == "UTC" ? "UTC" : `${timeZone} (${offset})`
  }

  // -- keys and buttons of every page

  const keys = {"/": () => $("find").focus(), "?": () => $("help").showModal()}
  function pressed(event) {
    const inField = event.target.closest("input, textarea, select, dialog[open]")
    if (event.ctrlKey || event.metaKey || event.altKey || inField) return
    if (event.key == " " && event.target.closest("button, a, summary")) return
    const does = keys[event.key]
    if (!does) return
    event.preventDefault()
    does()
  }
  // What the browser kept of a page, for its back button or a tab opened again, has a token too old to connect with.
  const [loaded] = performance.getEntriesByType("navigation")
  if (loaded?.type == "back_forward" && loaded.transferSize == 0) location.reload()
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload() })
  dress()
  system.addEventListener("change", dress)
  addEventListener("DOMContentLoaded", () => {
    linemon.about = JSON.parse($("about").textContent)
    linemon.page = linemon.pages[linemon.about.kind] ?? linemon.pages.charts
    dress()
    text($("zone"), zone())
    $("scheme").addEventListener("click", nextScheme)
    $("help-button").addEventListener("click", () => $("help").showModal())
    for (const button of all("[data-copy]")) button.addEventListener("click", () => copy($(button.dataset.copy).textContent, button))
    linemon.search.start()
    linemon.verbs.start()
    linemon.measures.start()
    linemon.menu.start()
    linemon.large.start()
    linemon.wall.start()
    linemon.boards.start()
    linemon.limits.start()
    addEventListener("keydown", pressed)
    setTimeout(linemon.figures.make)   // while the websocket is opened; `start` needs them
    setTimeout(refused, LATE_MS)  // only now: the page itself may take long to come
    setInterval(tell, S)
    tell()
  })
  async function copy(what, button) {
    try {
      await navigator.clipboard.writeText(what)
    } catch {                     // over plain HTTP from another machine there is no clipboard
      const area = make("textarea")
      area.value = what
      document.body.append(area)
      area.select()
      document.execCommand("copy")
      area.remove()
    }
    const was = button.textContent
    text(button, "Copied")
    setTimeout(() => text(button, was), 1500)
  }
  return {$, all, text, make, model, drawing, fill, colour, isDark, start, unpack, ask, tell, now, age, since, stamped, keys, copy, zone, pages: {}, S}
})())
