"use strict"
// What fires, on every page: in the title, in a strip that leads to the list, as limits and incidents in charts.
linemon.alarms = (() => {
  const {$, text, model, colour} = linemon
  let said = {levels: {}, texts: [], drawn: []}, title = ""

  const count = (n, what) => n ? `${n} ${what}` : ""
  const counts = ({critical, warning}) => [count(critical, "critical"), count(warning, warning == 1 ? "warning" : "warnings")].filter(Boolean).join(", ")
  function hear() {
    said = JSON.parse(model("answers").alarms)
    const {runs, critical, warning, texts} = said, firing = critical + warning, strip = $("firing")
    document.title = (firing ? `(${firing}) ` : "") + title
    if (strip) {
      strip.hidden = !firing && runs !== false
      strip.className = runs === false ? "old" : critical ? "critical" : "warning"
      const more = firing > texts.length ? `, and ${firing - texts.length} more` : ""
      text(strip, runs === false ? `Alarms are not running${firing ? `; the last that was known: ${counts(said)}` : ""}` : `${counts(said)}: ${texts.join("; ")}${more}`)
    }
    linemon.page.redraw()
  }
  const levelOf = (source) => said.runs === false ? 0 : said.levels[source] ?? 0
  // Add the limits and incidents of one chart's columns to what it draws; `range` is that of its values.
  function into(number, lines, areas, range, hidden) {
    const {about} = linemon, {start, end} = linemon.time.range
    for (const alarm of said.drawn ?? []) {
      const line = about.panels[number].lines.find(({column}) => {
        const {source, name} = about.columns[column]
        return !hidden.has(column) && about.sources[source] == alarm.source && (alarm.column == null || alarm.column == name)
      })
      if (!line) continue
      if (alarm.since != null && alarm.since < end) {
        const from = Math.max(start, alarm.since)
        areas.xs.push([from, end, end, from])
        areas.ys.push([range.start, range.start, range.end, range.end])
        areas.color.push(colour(alarm.level == 2 ? "bad" : "warn"))
        areas.alpha.push(0.13)
      }
      if (line.role == "stack" || alarm.column == null) continue
      for (const [limit, color] of [[alarm.limits.warning, "warn"], [alarm.limits.critical, "bad"]]) {
        const at = line.role == "below" ? -Math.abs(limit) : limit
        if (limit == null || !(at > range.start && at < range.end)) continue
        lines.xs.push([start, end])
        lines.ys.push([at, at])
        lines.color.push(colour(color))
        lines.dash.push("dashed")
      }
    }
  }
  function connect() {
    title = document.title
    model("answers").properties.alarms.change.connect(hear)
  }
  return {connect, into, levelOf, counts, get said() { return said }}
})()
