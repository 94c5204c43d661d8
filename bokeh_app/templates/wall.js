"use strict"
// A wall: the charts over the whole screen, to be read from three metres, without anything to press. `w`, or `&wall=1`;
// `?wall=BOARD,BOARD&every=30s` shows boards by turns.
linemon.wall = (() => {
  const {$, all, model, keys} = linemon
  const EVERY_S = 30, SECONDS = {s: 1, m: 60, h: 3600}
  const SHAPE = 2                 // of a chart, how wide it should be for its height
  const LEGEND = 0.25             // of its height, at most
  const said = (name) => new URLSearchParams(location.search).get(name) ?? ""
  const isOn = () => "wall" in document.documentElement.dataset

  // So many charts beside one another that they come closest to their shape.
  function arrange() {
    const count = all(".cards > *").length
    const off = (across) => Math.abs(Math.log(innerWidth / across / (innerHeight / Math.ceil(count / across)) / SHAPE))
    const across = Array.from({length: count}, (_, i) => i + 1).reduce((best, each) => off(each) < off(best) ? each : best, 1)
    const rows = Math.max(1, Math.floor(LEGEND * innerHeight / Math.ceil(count / across) / (1.4 * size())))   // of a legend
    for (const [name, value] of Object.entries({across, rows, size: `${size()}px`})) document.documentElement.style.setProperty(`--${name}`, value)
  }
  // So many ticks on an axis of values as do not touch: all charts of a wall are of one height.
  const upwards = () => isOn() ? Math.max(1, Math.min(4, Math.floor(($("plot0").clientHeight - 3 * size()) / (2 * size())))) : 4
  const size = () => Math.round(Math.min(44, Math.max(15, innerWidth / 80)))   // of letters, in pixels
  // What Bokeh writes, too.
  function dress() {
    if (!model("chart0")) return   // a window that changes its size while the page comes
    const letters = isOn() ? size() : 11
    linemon.upwards = upwards()
    linemon.about.panels.forEach((_, number) => {
      const chart = model(`chart${number}`)
      for (const axis of [...chart.below, ...chart.left, ...chart.right]) axis.major_label_text_font_size = `${letters}px`
      chart.min_border_left = Math.round(68 * letters / 11)
    })
  }
  function show(on) {
    if (on) document.documentElement.dataset.wall = ""
    else delete document.documentElement.dataset.wall
    if (on) arrange()
    if (!model("wishes")) return
    dress()
    requestAnimationFrame(() => { model("wishes").pixels = Math.round(linemon.charts.width()); linemon.charts.redraw() })
  }
  function go(on) {
    const here = new URL(location)
    if (on) here.searchParams.set("wall", 1)
    else for (const name of ["wall", "every"]) here.searchParams.delete(name)
    history.pushState(null, "", here)
    show(on)
    if (on) document.documentElement.requestFullscreen?.().catch(() => {})   // where the browser lets it
    else if (document.fullscreenElement) document.exitFullscreen()
  }
  // The boards of the wall by turns: the one after this one, or the first.
  function turn() {
    const boards = said("wall").split(",").map((name) => name.trim()).filter(Boolean)
    if (!boards.length || said("wall") == "1") return
    const at = boards.indexOf(linemon.about.board?.name), [, many, unit] = /^(\d+)([smh]?)$/.exec(said("every")) ?? []
    const kept = ["host", "window", "wall", "every"].map((name) => [name, said(name)]).filter(([, value]) => value)
    const next = () => { if (said("wall")) location.replace(`?${new URLSearchParams([["board", boards[(at + 1) % boards.length]], ...kept])}`) }
    if (at < 0) next()
    else if (boards.length > 1) setTimeout(next, (many > 0 ? many * SECONDS[unit || "s"] : EVERY_S) * linemon.S)
  }
  function start() {
    turn()
    if (!linemon.about.panels) return
    keys.w = () => go(!isOn())
    $("wall")?.addEventListener("click", () => go(true))
    addEventListener("keydown", (event) => {
      if (event.key != "Escape" || !isOn() || document.querySelector("dialog[open], :popover-open")) return
      event.stopImmediatePropagation()
      go(false)
    })
    addEventListener("fullscreenchange", () => { if (!document.fullscreenElement && isOn()) go(false) })
    addEventListener("popstate", () => show(said("wall") != ""))
    addEventListener("resize", () => { if (isOn()) { arrange(); dress() } })
    show(said("wall") != "")
  }
  return {start, dress, get line() { return isOn() ? size() / 8 : 1.5 }}   // how wide lines are, in pixels
})()
