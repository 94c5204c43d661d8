"use strict"
// One chart over the whole window: by its menu, or `f` with the pointer or the focus on it. The address says which.
linemon.large = (() => {
  const {$, all, model, keys, menu} = linemon

  const large = () => all("figure.large").map(({id}) => +id.slice("card".length))[0] ?? -1
  function show(number) {
    if (number == large()) return
    for (const each of all("figure.card")) each.classList.toggle("large", each.id == `card${number}`)
    document.documentElement.toggleAttribute("data-large", number >= 0)
    if (number < 0) delete keys.Escape
    else keys.Escape = () => go(-1)
    // As many points as the charts have pixels now.
    if (model("wishes")) requestAnimationFrame(() => { model("wishes").pixels = Math.round(linemon.charts.width()) })
  }
  function go(number) {
    const here = new URL(location)
    if (number < 0) here.searchParams.delete("chart")
    else here.searchParams.set("chart", menu.keyOf(number))
    history.pushState(null, "", here)
    show(number)
  }
  const toggle = (number) => go(large() < 0 ? number : -1)
  const restore = () => show(menu.chartOf(new URLSearchParams(location.search).get("chart")))
  function start() {
    if (!linemon.about.panels) return
    menu.add((number) => [large() < 0 ? {text: "Enlarge", key: "f", does: () => go(number)} : {text: "All charts", key: "Esc", does: () => go(-1)}])
    keys.f = () => { if (menu.pointed() >= 0) toggle(menu.pointed()) }
    addEventListener("popstate", restore)
    restore()
  }
  return {start}
})()
