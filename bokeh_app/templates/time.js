"use strict"
// What part of time the charts show: following the newest row, or standing still. The address says it, so that a view
// is a link and outlives a reload.
linemon.time = (() => {
  const {$, all, text, model, keys, S} = linemon
  const LOOK_MS = 60              // after the last of several moves the server is asked
  const LEAST_MS = 10, MOST_MS = 100 * 365 * 86400 * S
  let isLive = true, span = 300, range = null, isOurs = false, soon = 0, moved = () => {}, newest = NaN, oldest = NaN, lookedAt = -Infinity

  const zero = () => linemon.about.zero ?? 0   // where the marks of runs are: their times are counted from there
  function put(start, end) {
    isOurs = true
    range.setv({start, end})
    isOurs = false
  }
  function setLive(live) {
    isLive = live
    const button = $("live")
    text(button, live ? "❚❚" : "▶")
    button.setAttribute("aria-label", live ? "Pause" : "Go live")
    button.title = live ? "Pause (space)" : "Go live (space)"
    button.setAttribute("aria-pressed", !live)
    for (const each of all(".window")) each.setAttribute("aria-pressed", live && +each.dataset.seconds == span)
    linemon.when.tell()
    linemon.tell()
  }
  function ask() {                // for what is in sight, in full detail, and what lines need from before it
    const wishes = model("wishes"), lead = linemon.reading.lead()
    wishes.window = span && span + lead / S
    wishes.sight = isLive ? [] : [range.start - lead, range.end]
  }
  function look() {
    ask()
    const here = new URL(location), pressed = all(".window").find((each) => +each.dataset.seconds == span)
    here.searchParams.set("window", pressed.dataset.window)
    for (const [name, value] of [["from", range.start], ["to", range.end]])
      if (isLive) here.searchParams.delete(name)
      else here.searchParams.set(name, Math.round(value - zero()))
    // A zoom is a step to go back from; what follows within a second belongs to it.
    const now = performance.now(), isStep = !isLive && here.search != location.search && now - lookedAt > S
    history[isStep ? "pushState" : "replaceState"](null, "", here)
    lookedAt = now
    linemon.when.tell()
  }
  function lookSoon() {
    clearTimeout(soon)
    soon = setTimeout(look, LOOK_MS)
  }
  function stand() {              // the user has moved the range
    if (isOurs) return
    setLive(false)
    moved()
    lookSoon()
  }
  function go(start, end) {
    if (!(end - start >= LEAST_MS && end - start <= MOST_MS)) return
    const {oldest, newest} = linemon.charts, late = start - newest, early = oldest - end   // not out of what there is
    const back = late > 0 ? late : early > 0 ? -early : 0
    put(start - back, end - back)
    setLive(false)
    moved()
    lookSoon()
  }
  function follow() {
    setLive(true)
    clearTimeout(soon)
    keep()
    moved()
    look()
  }
  // While live: the window ends at the newest row.
  function keep() {
    if (!isLive || !(newest >= 0)) return
    if (zero()) {                 // of runs: so long after their marks, and a little before
      const length = span ? span * S : linemon.about.length
      return put(zero() - length / 20, zero() + length)
    }
    const start = span ? newest - span * S : Math.min(oldest, newest - S)
    put(start, newest + Math.max((newest - start) * 0.005, linemon.behind.ahead(newest, newest - start)))
  }
  const pan = (share) => { const step = (range.end - range.start) * share; go(range.start + step, range.end + step) }
  const zoom = (factor) => {
    const middle = (range.start + range.end) / 2, half = (range.end - range.start) / 2 * factor
    go(middle - half, middle + half)
  }
  const toggle = () => isLive ? (setLive(false), look()) : follow()

  // From and to as the address says them: epoch ms, as the page writes them, or what one types; empty where that is nothing.
  function given(address) {
    const said = ["from", "to"].map((name) => address.get(name) || null).map((value) => /^-?\d+(\.\d+)?$/.test(value) && +value + zero() >= 0 ? +value + zero() : value)
    $("misread").hidden = true
    if (said[0] == null) return []
    try {
      const sight = linemon.when.between(...said, linemon.now(), span * S || 3600 * S)
      // What the server ranks by is what is in sight: it reads epoch ms alone.
      if (linemon.about.kind == "measure" && said.some((each) => typeof each != "number")) {
        for (const [i, name] of ["from", "to"].entries()) address.set(name, Math.round(sight[i]))
        location.replace(`?${address}`)
      }
      return sight
    } catch (error) {
      text($("misread"), error.message)
      $("misread").hidden = false
      return []
    }
  }
  function restore() {            // what the address says
    const address = new URLSearchParams(location.search)
    const button = all(".window").find((each) => each.dataset.window == address.get("window"))
    if (button) span = +button.dataset.seconds
    const sight = given(address)
    if (sight.length) put(...sight)
    setLive(!sight.length)
    ask()
  }
  const lengths = (kept) => kept.map(([name, seconds]) => `${name} for ${linemon.duration(Math.round(seconds))}`).join(", ")
  // What is kept of the source of this page, its rows and then its history, and how much that takes.
  function weigh(kept) {
    if (kept.length) text($("kept"), `Held: ${lengths(kept)}, ${linemon.format(kept.reduce((sum, [, , bytes]) => sum + bytes, 0), "B")}`)
  }
  // Windows that are longer than all that is kept: most of them would stay empty.
  function mark(held, {full: points, kept}) {
    const why = kept.length > 1 ? `the history holds ${lengths(kept.slice(1))}` : `[store] points = ${points}`
    for (const button of all(".window")) {
      const isBeyond = +button.dataset.seconds * S > 1.1 * held
      button.classList.toggle("beyond", isBeyond)
      button.title = isBeyond ? `No more than ${linemon.duration(Math.round(held / S))} is kept: ${why}` : ""
    }
  }
  function start(whenMoved) {
    range = model("time")
    moved = whenMoved
    weigh(linemon.about.kept)
    linemon.reading.start()
    for (const button of all(".window")) {
      button.addEventListener("click", () => {
        span = +button.dataset.seconds
        follow()
      })
    }
    const pressed = all(".window").find((each) => each.getAttribute("aria-pressed") == "true")
    span = +pressed.dataset.seconds
    restore()
    linemon.when.start()
    addEventListener("popstate", () => { restore(); keep(); moved() })
    range.change.connect(stand)
    $("live").addEventListener("click", toggle)
    $("in").addEventListener("click", () => zoom(0.5))
    $("out").addEventListener("click", () => zoom(2))
    $("back").addEventListener("click", () => pan(-0.5))
    $("on").addEventListener("click", () => pan(0.5))
    Object.assign(keys, {
      " ": toggle, "ArrowLeft": () => pan(-0.25), "ArrowRight": () => pan(0.25), "+": () => zoom(0.5), "=": () => zoom(0.5),
      "-": () => zoom(2), "0": follow, "End": follow,
    })
  }
  return {
    start, keep, zoom, go, mark, ask,
    get isLive() { return isLive },
    get range() { return range },
    get span() { return span },
    know: (first, last) => { oldest = first; newest = last },
  }
})()
