"use strict"
// What fires, on every page: in a strip that leads to the list, as incidents in charts.
linemon.alarms = (() => {
  const {$, text, model, colour} = linemon
  let said = {levels: {}, texts: [], drawn: []}

  const count = (n, what) => n ? `${n} ${what}` : ""
  const counts = ({critical, warning}) => [count(critical, "critical"), count(warning, warning == 1 ? "warning" : "warnings")].filter(Boolean).join(", ")
  function hear() {
    said = JSON.parse(model("answers").alarms)
    const {runs, critical, warning, texts} = said, firing = critical + warning, strip = $("firing")
    linemon.limits.hear()
    if (strip) {
      strip.hidden = !firing && runs !== false
      strip.className = runs === false ? "old" : critical ? "critical" : "warning"
      const more = firing > texts.length ? `, and ${firing - texts.length} more` : ""
      text(strip, runs === false ? `Alarms are not running${firing ? `; the last that was known: ${counts(said)}` : ""}` : `${counts(said)}: ${texts.join("; ")}${more}`)
    }
    linemon.page.redraw()
  }
  // The level of a source, or of one of its columns.
  const levelOf = (source, column) => column == null ? Math.max(0, ...Object.values(said.levels?.[source] ?? {})) : said.levels?.[source]?.[column] ?? 0
  // Add the incidents of one chart's columns to what it draws; `range` is that of its values.
  function into(number, areas, range, hidden) {
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
    }
  }
  function connect() {
    model("answers").properties.alarms.change.connect(hear)
  }
  return {connect, into, levelOf, counts, get said() { return said }}
})()
