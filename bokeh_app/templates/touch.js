"use strict"
// Fingers on a chart: a tap reads, as a pointer does that rests there; one across zooms to what it passes, two zoom and
// move, on a value axis that axis. Up and down the page scrolls.
linemon.touch = (() => {
  const {$, make, model, drawing, time, values} = linemon
  const FAR = 10                  // pixels from which on a finger moves
  const band = make("div", {class: "band"})
  let number = -1, begun = null, wanted = null, axisHeld = null

  // Where the axis of a chart lies: its left end in pixels of the window, and how long it is.
  function axis() {
    const {left, width} = drawing(`chart${number}`).frame.bbox
    return {left: $(`plot${number}`).getBoundingClientRect().left + left, width}
  }
  const within = (x, {left, width}) => Math.max(0, Math.min(1, (x - left) / width))
  // What the fingers hold: how far they are apart, and the time in the middle between them.
  function hold(fingers) {
    const [a, b] = fingers, {start, end} = time.range, {left, width} = axis(), x = (a.clientX + (b ?? a).clientX) / 2
    return {x, y: a.clientY, apart: b ? Math.max(FAR, Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY)) : 0, at: start + (x - left) / width * (end - start), span: end - start}
  }
  function go(start, end) {       // many moves of the fingers are one picture
    if (!wanted) requestAnimationFrame(() => { time.go(...wanted); wanted = null })
    wanted = [start, end]
  }
  const touching = (event, plot) => [...event.touches].filter(({target}) => plot.contains(target)).slice(0, 2)
  function down(event, plot, chart) {
    const fingers = touching(event, plot)
    if (!drawing(`chart${chart}`)) return
    band.remove()
    number = chart
    begun = hold(fingers)
    axisHeld = fingers.length == 2 ? linemon.axes.hold(chart, fingers) : null
    if (fingers.length == 2) values.hover(chart, null)
  }
  function move(event, plot) {
    const fingers = touching(event, plot)
    if (!begun || !fingers.length) return
    const {left, width} = axis(), now = hold(fingers)
    if (axisHeld && fingers.length == 2) {
      event.preventDefault()
      linemon.axes.pull(axisHeld, fingers)
    } else if (now.apart && begun.apart) {
      const span = begun.span * begun.apart / now.apart, start = begun.at - (now.x - left) / width * span
      event.preventDefault()      // no scrolling meanwhile
      go(start, start + span)
    } else if (!now.apart && !begun.apart && (band.isConnected || (Math.abs(now.x - begun.x) > FAR && Math.abs(now.x - begun.x) > Math.abs(now.y - begun.y)))) {
      const [from, to] = [begun.x, now.x].map((x) => within(x, {left, width})).sort((a, b) => a - b)
      event.preventDefault()
      if (!band.isConnected) {
        values.hover(number, null)
        plot.append(band)
      }
      const inside = left - plot.getBoundingClientRect().left
      Object.assign(band.style, {left: `${inside + from * width}px`, width: `${(to - from) * width}px`})
      band.share = [from, to]
    }
  }
  function up(event, plot, chart) {
    if (band.isConnected && event.type == "touchend") {
      const {start, end} = time.range, [from, to] = band.share.map((share) => start + share * (end - start))
      if (band.offsetWidth > FAR) time.go(from, to)
    }
    band.remove()
    if (axisHeld) linemon.axes.drop()
    axisHeld = null
    if (touching(event, plot).length) down(event, plot, chart)   // one of two is left
    else begun = null
  }
  function start() {
    if (!matchMedia("(pointer: coarse)").matches) return
    linemon.about.panels.forEach((_, chart) => {
      const plot = $(`plot${chart}`), figure = model(`chart${chart}`)
      // Bokeh's own would take the swipe that scrolls the page, too.
      for (const tool of figure.toolbar.tools) if (tool.type != "CrosshairTool") tool.active = false
      figure.on_event("tap", (event) => setTimeout(() => values.hover(chart, event)))   // when the finger has left, and the crosshair with it
      for (const [name, does] of Object.entries({touchstart: down, touchmove: move, touchend: up, touchcancel: up}))
        plot.addEventListener(name, (event) => does(event, plot, chart), {passive: false})
    })
    const away = () => { if (values.pointer()) values.hover(values.pointer().chart, null) }
    addEventListener("touchstart", ({target}) => { if (!target.closest(".plot")) away() }, {passive: true})
    addEventListener("scroll", away, {passive: true})
  }
  return {start}
})()
