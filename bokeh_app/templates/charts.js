"use strict"
// The page with charts: takes what the server sends, keeps the points, draws.
linemon.charts = linemon.pages.charts = (() => {
  const {$, all, text, model, now, age, since, stamped, Points, S} = linemon
  const WHOLE_S = 30, MOST_WHOLE = 2000
  const whole = new Points(1)     // one column over all there is
  const sources = [], places = [], latest = [], states = [], ages = [], strays = []
  const hidden = new Set()        // numbers of the columns whose lines are off
  let newest = NaN, oldest = NaN, gapsAt = 0, wholeAt = 0, isFilled = false, fillAt = 0

  // -- the blocks of a message, as `packing.py` makes them

  function block(take, floats, width) {
    const [bucket, rows, isThinned, counted, stretches] = take(5)
    const longer = Array.from({length: stretches}, () => take(2))
    const times = take(rows), offsets = take(width), all = width * rows
    const values = floats((isThinned ? 3 : 1) * all + counted * rows), isBeyond = Array(width).fill(false)
    const columns = (part) => Array.from({length: width}, (_, c) => {
      const from = part * all + c * rows, offset = offsets[c]
      return Float64Array.from(values.subarray(from, from + rows), (value) => {
        if (value - value == 0) return known(value, offset)
        isBeyond[c] ||= value == value   // an infinity: more than a chart can draw, as missing
        return NaN
      })
    })
    const mean = columns(0), low = isThinned ? columns(1) : mean, high = isThinned ? columns(2) : mean
    const count = Array.from({length: width}, (_, c) => {
      if (!isThinned) return mean[c].map((value) => +(value == value))
      const from = 3 * all + (counted == 1 ? 0 : c) * rows
      return values.subarray(from, from + rows)
    })
    return {bucket, longer, times, isThinned: isThinned > 0, isBeyond, mean, low, high, count}
  }
  // A float32 beside its offset as the decimal number that it was: what it cannot know is cut off.
  function known(value, offset) {
    const sum = value + offset
    if (value == 0 || Number.isInteger(sum)) return sum
    if (offset == 0) return +value.toPrecision(7)
    const scale = 10 ** Math.min(6 - Math.floor(Math.log10(Math.abs(value))), 15)
    return Math.round(sum * scale) / scale
  }
  function take(cut, floats, isReplaced) {
    const [count] = cut(1)
    const {about, time} = linemon
    if (about.panels.length == 0) return
    if (count == 0) {               // a board of which nothing is there
      isFilled = true
      return time.know(NaN, now())
    }
    let first = Infinity
    sources.forEach((points, number) => {
      const [came, last, patience, ahead, furthest] = cut(5)
      ages[number] = {came, patience}
      strays[number] = {ahead, furthest}
      if (last > newest || !(newest >= 0)) newest = last
      const base = places.findIndex((place) => place.source == number)
      cut(about.shown[number]).forEach((value, i) => { if (!Number.isNaN(value) || isReplaced) latest[base + i] = value })
      const more = block(cut, floats, about.drawn[number])
      if (isReplaced) {
        points.clear(more.bucket, Math.max(256, more.times.length * 1.25 | 0))
        points.gaps = null
      }
      if (isReplaced || time.isLive) points.add(more)
      if (number == 0 && !isReplaced && time.isLive && more.mean.length && !about.runs) whole.add({...more, mean: [more.mean[0]], low: [more.low[0]], high: [more.high[0]], count: [more.count[0]]})
      if (points.length) first = Math.min(first, points.times[0])
      if (points.length < 50) points.gaps = null
    })
    if (isReplaced) {
      const all = block(cut, floats, 1)
      whole.clear(all.bucket)
      whole.add(all)
      oldest = about.runs ? NaN : cut(1)[0]   // runs are drawn at other times than their own
      wholeAt = performance.now()
      isFilled = true
      fillAt = 0
      if (about.full) time.mark(newest - oldest, about)
      for (const state of states) if (!time.isLive || !state.isSet) state.isSet = false
    }
    if (performance.now() - gapsAt > 5 * S) {
      gapsAt = performance.now()
      for (const points of sources) points.gaps = null
    }
    const shownNewest = sources.reduce((most, {newest}) => newest > most ? newest : most, -Infinity)
    const hasOnlyStrays = !(newest >= 0) && strays.some(({ahead}) => ahead)
    time.know(first, Number.isFinite(shownNewest) ? shownNewest : hasOnlyStrays ? now() : newest)
  }
  function draw() {
    const {time} = linemon
    if (!isFilled) return
    time.keep()
    if (time.isLive && time.span) for (const points of sources) points.trim(time.range.start - linemon.reading.lead())
    linemon.draw.whole(whole, oldest, newest)
    refill()
    redraw()
  }
  // More points than the charts have pixels, or a picture of all there is that may begin with what is gone by now: ask
  // for a new one.
  function refill() {
    if (fillAt) return
    const most = 4 * width() + 200, isOld = performance.now() - wholeAt > Math.max(WHOLE_S * S, (whole.newest - whole.times[0]) / 20)
    const isFull = linemon.time.isLive && sources.some((points) => points.length > most)
    if (isFull || whole.length > MOST_WHOLE || (isOld && document.visibilityState == "visible")) {
      wholeAt = fillAt = performance.now()
      model("wishes").refill += 1
    }
  }
  const width = () => Math.max(...all(".plot").map((plot) => plot.clientWidth - 82), 50)
  function redraw() {
    if (!isFilled) return
    linemon.across = Math.max(Math.min(5, Math.floor(width() / 64)), Math.floor(width() / 110))
    linemon.about.panels.forEach((_, number) => linemon.draw.panel(number, hidden, states[number]))
    linemon.shape.draw()
    linemon.values.show()
  }
  // Once more in the next frame, as when one chart has to do with another.
  let isSoon = false
  function redrawSoon() {
    if (!isSoon) requestAnimationFrame(() => { isSoon = false; redraw() })
    isSoon = true
  }
  function state() {
    const isLive = ages.some(({came, patience}) => now() - came < patience) && !stamped(newest), came = Math.max(0, ...ages.map(({came}) => came || 0))
    const said = !came ? "" : stamped(newest) ? `${stamped(newest)}: was its time meant as a value?` : isLive ? `newest row ${age(came)} ago` : `no data since ${since(came)}`
    text($("age"), [said, astray()].filter(Boolean).join(", "))
    return !linemon.time.isLive ? "paused" : isLive ? "live" : "waiting"
  }
  // Rows whose stamps are far ahead of now, as of a sender with a wrong clock or zone, move no view: they are told.
  function astray() {
    const rows = strays.reduce((sum, {ahead}) => sum + ahead, 0), furthest = Math.max(...strays.map(({furthest}) => furthest || 0))
    return rows ? `${rows} ${rows == 1 ? "row" : "rows"} ${age(2 * now() - furthest)} ahead` : ""
  }
  function start() {
    const {about} = linemon
    about.shown.forEach((length, source) => {
      sources.push(new Points(about.drawn[source]))
      for (let at = 0; at < length; at++) places.push({source, at})
    })
    for (const {lines, kind} of about.panels) states.push({isSet: false, isMirrored: kind == "mirrored", isStacked: kind == "stacked"})
    if (about.panels.length) {
      linemon.runs.start()
      linemon.wall.dress()
      linemon.time.start(redraw)
      linemon.values.start()
      linemon.touch.start()
      linemon.axes.start()
      linemon.legend.start()
      linemon.cursors.start()
      linemon.shape.start()
      linemon.measures.offer()      // last in the menu: there is one for each line
      linemon.behind.start()
      linemon.changed.start()
      linemon.marks.start()
      linemon.exports.start()
      if (about.kind == "measure") linemon.measures.connect()
    }
    model("answers").properties.older.change.connect(() => {
      text($("older"), model("answers").older)
      $("older").hidden = !model("answers").older
    })
    linemon.search.connect()
    linemon.health.start()
    return about.panels.length ? width() : 300
  }
  return {start, take, draw, redraw, redrawSoon, state, width, block, sources, places, states, latest, hidden, get newest() { return newest }, get oldest() { return oldest }}
})()
