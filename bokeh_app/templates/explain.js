"use strict"
// How lines would be read: the box on the health page.
linemon.explain = (() => {
  const {$, text, make, ask} = linemon

  function words(said) {
    if (said.error) return said.kind == "directive" || said.kind == "comment" ? said.error : `rejected: ${said.error}`
    if (said.source == null) return said.goes_on ? "goes on in the next line" : "–"
    const values = said.values.map(([column, unit, value]) => `${column} = ${value}${unit && ` ${unit}`}`).join(", ")
    return `${values || "no value"}, ${said.time ? `at ${said.time}` : "at its arrival"}${said.texts ? `; ${said.texts} of its texts left out` : ""}`
  }
  function line(said) {
    const source = said.source == null ? [] : [make("a", {href: linemon.search.sourceAddress(said.source)}, said.source), ...said.is_new ? [make("span", {class: "muted"}, " new")] : []]
    return make("tr", said.error ? {class: "wrong"} : {}, make("td", {}, said.line), make("td", {}, said.kind), make("td", {}, ...source), make("td", {}, words(said)))
  }
  async function show(event) {
    event.preventDefault()
    const button = $("explain-read"), error = $("explain-error"), table = $("explained")
    button.disabled = true
    const said = await ask({do: "explain", lines: $("explain-lines").value})
    button.disabled = false
    error.hidden = !said.error
    text(error, said.error ?? "")
    table.tBodies[0].replaceChildren(...(said.found ?? []).map(line))
    table.hidden = !said.found?.length
  }
  function start() {
    if (!$("explain")) return
    $("explain").addEventListener("submit", show)
    $("explain-lines").addEventListener("keydown", (event) => { if (event.key == "Enter" && (event.ctrlKey || event.metaKey)) $("explain").requestSubmit() })
  }
  return {start}
})()
