"use strict"
// What changed in the span in sight, against the four spans before it: the columns of these sources, or of all, ranked.
linemon.changed = (() => {
  const {$, all, text, make, model, ask, colour, date, seconds, format, since, keys} = linemon
  const CHANCE = 3                // a score that chance brings
  let span = null, hasAll = false, turn = 0, isAsking = false

  const clock = (time) => seconds(new Date(time))
  // With as many digits as tell it from before.
  const step = (before, then, unit) => [before, then].map((value) => format(value, unit, 4, Math.abs(then - before))).join(" → ")
  function link({source, column, called}) {
    const {search} = linemon, wide = span[1] - span[0], here = new URLSearchParams(search.plotAddress([search.term(source, column)]))
    here.set("from", Math.round(span[0] - wide))
    here.set("to", Math.round(span[1] + wide))
    return make("a", {href: `?${here}`}, hasAll || linemon.about.sources.length > 1 ? `${source} : ${called}` : called)
  }
  function row(found) {
    const {score, mean, mean_before, spread, spread_before, unit} = found
    const cells = [score >= 100 ? Math.round(score) : score.toFixed(1), step(mean_before, mean, unit), step(spread_before, spread, unit)]
    return make("tr", score > CHANCE ? {} : {class: "chance"}, make("th", {scope: "row"}, link(found)), ...cells.map((cell) => make("td", {}, cell)))
  }
  async function look() {
    const {charts, about} = linemon, say = $("changed-said")
    $("changed").hidden = false
    for (const button of all("[data-changed]")) button.setAttribute("aria-pressed", (button.dataset.changed == "all") == hasAll)
    text($("changed-span"), `${date(new Date(span[0]))} ${clock(span[0])} to ${clock(span[1])}`)
    text(say, "looking…")
    charts.redraw()
    turn += 1
    if (isAsking) return          // one thing at a time: what is asked for last is asked next
    isAsking = true
    let asked = 0, error = "", found = []
    while (span && asked != turn) {
      asked = turn;
      ({error, found} = await ask({do: "changed", from: span[0], to: span[1], sources: hasAll ? null : about.sources}))
    }
    isAsking = false
    if (!span) return
    const body = $("changed").querySelector("tbody")
    body.replaceChildren(...(found ?? []).map(row))
    $("changed").querySelector("table").hidden = !found?.length
    text(say, error || (!found.length ? `There is nothing to compare with: a column needs three values in the span, and in two of the four as long before it${charts.oldest >= 0 ? `; rows are kept since ${since(charts.oldest)}` : ""}.`
      : found[0].score <= CHANCE ? `Nothing: scores up to ${CHANCE} are what chance brings.` : `Scores up to ${CHANCE}, pale, are what chance brings.`))
  }
  function open() {
    const {range} = linemon.time
    span = [range.start, Math.min(range.end, linemon.charts.newest + 1)]
    look()
  }
  function close() {
    turn += 1
    span = null
    $("changed").hidden = true
    linemon.charts.redraw()
  }
  // Add the span to what a chart draws, as long as it is spoken of.
  function into(areas, {start, end}) {
    const {range} = linemon.time
    if (!span || span[1] - span[0] > 0.95 * (range.end - range.start)) return   // all that is in sight
    areas.xs.push([span[0], span[1], span[1], span[0]])
    areas.ys.push([start, start, end, end])
    areas.color.push(colour("accent"))
    areas.alpha.push(0.1)
  }
  function start() {
    $("what-changed").addEventListener("click", open)
    $("changed-close").addEventListener("click", close)
    for (const button of all("[data-changed]")) button.addEventListener("click", () => { hasAll = button.dataset.changed == "all"; look() })
    if (!$("what-changed").hidden) keys.c = open
  }
  return {start, into}
})()
