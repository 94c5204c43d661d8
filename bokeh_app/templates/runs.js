"use strict"
// Runs laid over each other: what they are called, and which they are.
linemon.runs = (() => {
  const {$, all, text, make, date, seconds} = linemon

  // By the time of its mark, to as many digits as tell it from others, and by the text where that is not the same in all.
  function nameOf(source) {
    const {runs} = linemon.about, said = ([time]) => `${date(new Date(time))} ${seconds(new Date(time))}`, mine = said(runs[source])
    const isFew = new Set(runs.map((run) => said(run).slice(0, 16))).size == new Set(runs.map(String)).size, isThisYear = runs.every((run) => said(run).slice(0, 4) == date(new Date()).slice(0, 4))
    return `${mine.slice(isThisYear ? 5 : 0, isFew ? 16 : 19)}${runs.every(([, text]) => text == runs[0][1]) ? "" : ` ${runs[source][1]}`}`
  }
  function termsOf(number) {
    const {panels, columns, sources} = linemon.about
    return [...new Set(panels[number].lines.map(({column}) => linemon.search.term(sources[columns[column].source], columns[column].name)))]
  }
  const address = (terms, mark, last) => `?${new URLSearchParams({runs: terms.join(","), mark, last})}`
  // Ask which: of these columns, each as `search.term` writes it.
  function open(terms) {
    const given = new URLSearchParams(location.search), dialog = $("runs-dialog")
    dialog.terms = terms
    const texts = [...new Set(linemon.marks.all.map(({text}) => text.replace(/[\s\d:.#-]+$/, "") || text).reverse())]   // without their numbers
    $("runs-marks").replaceChildren(...texts.map((value) => make("option", {value})))
    $("runs-mark").value = given.get("mark") ?? texts[0] ?? ""
    $("runs-last").value = given.get("last") ?? 5
    dialog.showModal()
    $("runs-mark").select()
  }
  function start() {
    const {about} = linemon, given = new URLSearchParams(location.search)
    $("runs-form").addEventListener("submit", (event) => {
      event.preventDefault()
      location.search = address($("runs-dialog").terms, $("runs-mark").value, $("runs-last").value)
    })
    $("runs-cancel").addEventListener("click", () => $("runs-dialog").close())
    linemon.menu.add((number) => [{text: "Runs over each other…", does: () => open(termsOf(number))}])
    if (!about.runs) return
    linemon.zero = about.zero
    for (const panel of about.panels) for (const line of panel.lines) line.label = nameOf(about.columns[line.column].source)
    for (const button of all(".line")) text(button.querySelector("span"), nameOf(about.columns[+button.dataset.column].source))
    const most = Math.max(...about.sources.map((name) => about.sources.filter((other) => other == name).length))
    text($("which-runs"), `${most == 1 ? "One run" : `The last ${most} runs`}${given.get("mark") ? ` from “${given.get("mark")}”` : ""}`)
    $("which-runs").addEventListener("click", () => open(given.get("runs").split(",")))
  }
  return {start, open, nameOf}
})()
