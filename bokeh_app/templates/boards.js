"use strict"
// Boards: charts are pinned to them from any page; on a board they are ordered, by dragging or by their menu, named and
// removed. What is done is written into the board's file, and every page that shows it is built anew.
linemon.boards = (() => {
  const {$, all, text, make, menu, ask} = linemon
  const HOST = "{host}"
  let names = [], pinned = -1

  const board = () => linemon.about.board
  const address = (name) => `?${new URLSearchParams({board: name})}`
  // Change this board as it was seen. What is said when it is done stands on the page that is built of it.
  async function change(what, words, error, to = location.search) {
    const said = await ask({do: "board", board: board().name, version: board().version, ...what})
    if (said.error && error) text(error, said.error)
    else linemon.verbs.done(said.error ?? words, said.error ? null : {do: "board", what: "undo", change: said.change, address: location.search}, to)
  }

  // -- pin

  function open(number) {
    pinned = number
    $("pin-board").value = board()?.name ?? localStorage.getItem("linemon.board") ?? ""
    if ($("pin-host")) $("pin-host").checked = false
    entitle()
    text($("pin-error"), "")
    $("pin").showModal()
  }
  function entitle() {
    const {about} = linemon, {title} = about.panels[pinned]
    $("pin-name").value = $("pin-host")?.checked ? `${HOST} ${title}` : about.kind == "source" && title != about.source ? `${about.source} ${title}` : title
  }
  async function pin(event) {
    event.preventDefault()
    const {about, charts} = linemon, {lines, kind, limits} = about.panels[pinned], name = $("pin-board").value.trim()
    const shown = lines.filter(({column}) => !charts.hidden.has(column)).map(({column}) => about.columns[column])
    const source = ({source}) => $("pin-host")?.checked ? HOST : about.sources[source]
    const chart = {title: $("pin-name").value, lines: shown.map((column) => [source(column), column.name]), kind, limits}
    const said = await ask({do: "board", what: "pin", board: name, chart})
    text($("pin-error"), said.error ?? "")
    if (said.error) return
    localStorage.setItem("linemon.board", name)
    $("pin").close()
    linemon.verbs.done(`${chart.title || "The chart"} is on the board ${name}`, {do: "board", what: "undo", change: said.change}, null, address(name))
  }

  // -- order, titles, removal: of charts by the numbers they have in the file, which are those on the page

  const figures = () => all("figure.card")
  const numberOf = (figure) => +figure.id.slice("card".length)
  function order(charts, words) {
    const unshown = Array.from({length: board().count}, (_, number) => number).slice(figures().length)
    return change({what: "order", charts: [...charts, ...unshown]}, words)
  }
  function move(number, step) {
    const charts = figures().map(numberOf), at = charts.indexOf(number)
    charts.splice(at + step, 0, ...charts.splice(at, 1))
    sessionStorage.setItem("linemon.moved", at + step)
    return order(charts, `${menu.keyOf(number)} is the ${["first", "second", "third"][at + step] ?? `${at + step + 1}th`} chart`)
  }
  function items(number) {
    const {title} = linemon.about.panels[number]
    return [
      number > 0 && {text: "Move earlier", does: () => move(number, -1)},
      number < figures().length - 1 && {text: "Move later", does: () => move(number, 1)},
      {text: "Title…", does: () => { pinned = number; $("entitle-name").value = title; text($("entitle-error"), ""); $("entitle").showModal() }},
      {text: "Remove from this board", does: () => order(figures().map(numberOf).filter((each) => each != number), `${title} is not on this board any more`)},
    ].filter(Boolean)
  }
  function draggable(figure) {
    const head = figure.querySelector("figcaption"), mark = (name) => figures().forEach((each) => each.classList.toggle(name, each == figure))
    const clear = () => figures().forEach((each) => each.classList.remove("dragged", "before", "after"))
    // Before the first of what comes behind it, or after it.
    const step = () => numberOf(figure) - numberOf(document.querySelector("figure.dragged") ?? figure)
    head.draggable = true
    head.addEventListener("dragstart", (event) => { event.dataTransfer.setData("text/plain", menu.keyOf(numberOf(figure))); mark("dragged") })
    head.addEventListener("dragend", clear)
    figure.addEventListener("dragover", (event) => {
      if (!document.querySelector("figure.dragged")) return
      event.preventDefault()
      for (const name of ["before", "after"]) figures().forEach((each) => each.classList.toggle(name, each == figure && (name == "before" ? step() < 0 : step() > 0)))
    })
    figure.addEventListener("drop", (event) => {
      event.preventDefault()
      const by = step(), dragged = numberOf(document.querySelector("figure.dragged") ?? figure)
      clear()
      if (by) move(dragged, by)
    })
  }

  // -- the board itself

  function rename(event) {
    event.preventDefault()
    const to = $("board-name").value.trim()
    return change({what: "rename", to}, `${board().name} is called ${to} now`, $("board-error"), address(to))
  }
  const remove = () => change({what: "delete"}, `The board ${board().name} is deleted`, $("board-error"), "?")
  function choose() {
    const here = new URL(location)
    here.searchParams.set("host", $("host").value)
    location.href = here
  }
  // Of the boards those whose names hold all words of what is searched for.
  const matching = (find) => find.trim() ? names.filter((name) => find.toLowerCase().split(/\s+/).every((word) => name.toLowerCase().includes(word))) : []
  function start() {
    names = JSON.parse($("board-names").textContent)
    $("host")?.addEventListener("change", choose)
    if (!$("pin")) return
    menu.add((number) => [...board() ? items(number) : [], {text: "Pin to a board…", does: () => open(number)}])
    for (const button of all("[data-close]")) button.addEventListener("click", () => button.closest("dialog").close())
    $("pin-form").addEventListener("submit", pin)
    $("pin-host")?.addEventListener("change", entitle)
    if (!$("entitle")) return
    figures().forEach(draggable)
    const moved = sessionStorage.getItem("linemon.moved")
    sessionStorage.removeItem("linemon.moved")
    if (moved != null) document.querySelector(`#card${moved} .dots`)?.focus()
    $("entitle-form").addEventListener("submit", (event) => {
      event.preventDefault()
      change({what: "entitle", chart: pinned, title: $("entitle-name").value}, "The chart has another title", $("entitle-error"))
    })
    $("board-verbs")?.addEventListener("click", () => { text($("board-error"), ""); $("board-dialog").showModal() })
    $("board-rename").addEventListener("submit", rename)
    $("board-delete").addEventListener("click", remove)
  }
  return {start, matching, address}
})()
