"use strict"
// One measure of all that have it: the links that lead there; and sources chosen on the overview, to be compared.
linemon.measures = (() => {
  const {$, text, make} = linemon
  const MOST = 80, OFFERED = 6   // columns in a comparison; links to compare by
  const chosen = new Map()       // rows by the names of their sources

  const address = (measure) => `?${new URLSearchParams({measure, window: new URLSearchParams(location.search).get("window") ?? "5m"})}`
  const link = (measure, words) => make("a", {href: address(measure), title: `${words} of all: the top ten, and a band of the rest`}, words)

  function box(row) {
    const input = make("input", {type: "checkbox", "aria-label": `Choose ${row.name}`})
    input.checked = chosen.has(row.name)
    input.addEventListener("click", (event) => event.stopPropagation())
    input.addEventListener("change", () => {
      if (input.checked) chosen.set(row.name, row)
      else chosen.delete(row.name)
      show()
    })
    return input
  }
  // Under the rows: by which columns those that are chosen can be compared.
  function show() {
    const columns = new Map()
    for (const {name, columns: names, labels} of chosen.values()) names.forEach((column, i) => {
      if (!columns.has(column)) columns.set(column, {label: labels[i] || column, terms: []})
      columns.get(column).terms.push(linemon.search.term(name, column))
    })
    $("chosen").hidden = chosen.size == 0
    text($("chosen").firstElementChild, chosen.size > MOST ? `${chosen.size} chosen, ${MOST} are compared` : `${chosen.size} chosen`)
    const offered = [...columns.values()].sort((a, b) => b.terms.length - a.terms.length).slice(0, OFFERED)
    $("compare-by").replaceChildren(...offered.map(({label, terms}) => make("a", {href: linemon.search.plotAddress(terms.slice(0, MOST))}, label)))
  }
  function start() {
    if (!$("chosen")) return
    for (const each of document.querySelectorAll("[data-measure]")) each.href = address(each.dataset.measure)
    $("choose-none").addEventListener("click", () => {
      chosen.clear()
      for (const each of document.querySelectorAll("#rows input:checked")) each.checked = false
      show()
    })
  }
  return {start, link, box}
})()
