"use strict"
// The search: sources, and columns to compare.
linemon.search = (() => {
  const {$, all, make, model} = linemon
  let found = [], options = [], chosen = -1

  const quote = (name) => encodeURIComponent(name).replaceAll("%2F", "/")
  // One column as the address of a comparison writes it.
  const term = (source, column) => `${quote(source)}:${quote(column)}`
  const sourceAddress = (source) => `?${new URLSearchParams({source, window: windowNow()})}`
  const windowNow = () => linemon.all('.window[aria-pressed="true"]')[0]?.dataset.window ?? new URLSearchParams(location.search).get("window") ?? "5m"
  function plotAddress(terms, window = windowNow()) {
    const here = new URLSearchParams(location.search), next = new URLSearchParams({plot: terms.join(","), window})
    if (here.has("shift")) next.set("shift", here.get("shift"))
    for (const name of ["from", "to", "beside", "hide"]) if (linemon.about.kind == "compare" && here.has(name)) next.set(name, here.get(name))
    return `?${next}`
  }
  const plotted = () => (new URLSearchParams(location.search).get("plot") ?? "").split(",").filter(Boolean)

  function addressOf([source, column]) {
    if (!column) return linemon.about.kind == "compare" ? null : sourceAddress(source)
    const mine = term(source, column), terms = plotted()
    return plotAddress(linemon.about.kind == "compare" && !terms.includes(mine) ? [...terms, mine] : [mine])
  }
  function list() {
    const box = $("found"), named = linemon.boards.matching($("find").value).map((name) => [name, "board", () => { location.href = linemon.boards.address(name) }])
    const sources = found.filter(([, column]) => !column).map((pair) => [pair[0], "source", () => take(pair)])
    const columns = found.filter(([, column]) => column).map(([source, column, called]) => [`${source} : ${called || column}`, called ? `column ${column}` : "column", () => take([source, column])])
    options = [...sources, ...named, ...columns].map(([label, kind, takes], i) => {
      const option = make("li", {role: "option", id: `found${i}`, "aria-selected": "false"}, label, make("small", {class: "muted"}, kind))
      option.addEventListener("mousedown", (event) => { event.preventDefault(); takes() })
      option.takes = takes
      return option
    })
    box.replaceChildren(...options)
    chosen = -1
    open(options.length > 0 && document.activeElement == $("find") && $("find").value != "")
  }
  function open(isOpen) {
    $("found").hidden = !isOpen
    $("find").setAttribute("aria-expanded", isOpen)
  }
  function take(pair) {
    const to = addressOf(pair)
    if (to) location.href = to
    else {                        // a source of which a column is to be compared
      $("find").value = `${pair[0]}:`
      ask()
    }
  }
  function ask() {
    if (["overview", "alarms"].includes(linemon.about.kind)) note("find", $("find").value)
    if (model("wishes")) model("wishes").find = $("find").value
    list()                        // of boards at once; what else there is follows
  }
  // What is chosen on a page is in its address, so that it is there again on the way back.
  function note(name, value) {
    const here = new URL(location)
    if (value) here.searchParams.set(name, value)
    else here.searchParams.delete(name)
    history.replaceState(null, "", here)
  }
  function choose(step) {
    if (!options.length) return
    open(true)
    chosen = (chosen + step + options.length) % options.length
    options.forEach((option, i) => option.setAttribute("aria-selected", i == chosen))
    options[chosen].scrollIntoView({block: "nearest"})
    $("find").setAttribute("aria-activedescendant", options[chosen].id)
  }
  function start() {
    const find = $("find")
    if (["overview", "alarms"].includes(linemon.about.kind)) find.value = new URLSearchParams(location.search).get("find") ?? ""
    find.addEventListener("input", ask)
    find.addEventListener("focus", () => { if (find.value) open(options.length > 0) })
    find.addEventListener("blur", () => open(false))
    find.addEventListener("keydown", (event) => {
      if (event.key == "ArrowDown") choose(1)
      else if (event.key == "ArrowUp") choose(-1)
      else if (event.key == "Enter" && options.length) options[Math.max(chosen, 0)].takes()
      else if (event.key == "Escape") { find.value = ""; ask(); open(false); find.blur() }
      else return
      event.preventDefault()
    })
    for (const link of all("[data-compare]")) link.href = plotAddress(JSON.parse(link.dataset.compare).map((pair) => term(...pair)))
    for (const button of all("[data-remove]")) button.addEventListener("click", () => {
      location.href = plotAddress(plotted().filter((_, i) => i != +button.dataset.remove))
    })
    const beside = $("beside")
    beside?.addEventListener("click", () => {
      const here = new URLSearchParams(location.search)
      if (here.has("beside")) here.delete("beside")
      else here.set("beside", 1)
      location.search = here
    })
  }
  // Once there is a connection.
  function connect() {
    model("answers").properties.found.change.connect(() => { found = JSON.parse(model("answers").found || "[]"); list() })
    if ($("find").value) ask()
  }
  return {start, connect, note, sourceAddress, plotAddress, quote, term}
})()
