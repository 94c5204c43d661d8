"use strict"
// The page of alarms: what fires, what is about to, and what to do about it.
linemon.pages.alarms = (() => {
  const {$, all, text, make, model, format, age, now, since, ask} = linemon
  const SPANS = {"1h": "1 hour", "8h": "8 hours", "1d": "a day", "7d": "a week"}
  const WAITS = {quiet: "quiet hours", needs: "another alarm fires", flapping: "it flaps", late: "its rows are late"}
  let rows = [], hasData = false

  const levelName = (level) => ["", "warning", "critical"][level]
  const stateOf = ({state, level}) => state == "ok" ? "OK" : state == "pending" ? "pending" : state == "clearing" ? `${levelName(level)}, clearing` : levelName(level)
  const classOf = ({state, level}) => state == "ok" ? "ok" : state == "pending" ? "pending" : levelName(level)
  function remarks({acked, silenced_until, held, stale, state}) {
    return [
      stale && "no data",
      acked && `acknowledged by ${acked.by}${acked.why ? `: ${acked.why}` : ""}`,
      silenced_until != null && `silenced until ${since(silenced_until)}`,
      held && held != "silence" && `not told: ${WAITS[held] ?? held}`,
    ].filter(Boolean).join(", ")
  }
  // Of an alarm at one source, whatever is in their names.
  const pattern = ({alarm, source}) => `${alarm}@${source}`.replace(/[*?[]/g, "[$&]")
  async function order(what, element) {
    element.disabled = true
    const {error} = await ask(what)
    element.disabled = false
    $("order-error").hidden = !error
    text($("order-error"), error)
  }
  function buttons(row) {
    const found = [], about = `${row.alarm}, ${row.source}`
    if (row.n != null && row.state != "ok" && !row.acked) {
      const ack = make("button", {type: "button", "aria-label": `Acknowledge ${about}`}, "Acknowledge")
      ack.addEventListener("click", () => order({do: "ack", n: row.n}, ack))
      found.push(ack)
    }
    if (row.silenced_until != null) {
      const end = make("button", {type: "button", "aria-label": `Tell of ${about} again`}, "Unsilence")
      end.addEventListener("click", () => order({do: "unsilence", pattern: pattern(row)}, end))
      found.push(end)
    } else {
      const silence = make("select", {"aria-label": `Silence ${about} for`}, make("option", {value: ""}, "Silence…"), ...Object.entries(SPANS).map(([value, name]) => make("option", {value}, name)))
      silence.addEventListener("change", () => { if (silence.value) order({do: "silence", pattern: pattern(row), for: silence.value}, silence); silence.value = "" })
      found.push(silence)
    }
    return found
  }
  function line(row) {
    const value = row.value == null ? "–" : format(row.value, row.unit ?? "", 4)
    const what = make("td", {}, make("b", {}, row.alarm), make("span", {class: "muted"}, row.text))
    const where = make("td", {}, make("a", {href: linemon.search.sourceAddress(row.source)}, row.source), make("span", {class: "muted"}, row.called ?? ""))
    const when = make("td", {class: "since"}), element = make("tr")
    const does = make("td", {class: "does"}, ...document.body.dataset.maySet ? buttons(row) : [])
    element.append(make("td", {}, make("span", {class: `level ${classOf(row)}`}, stateOf(row)), make("span", {class: "muted"}, remarks(row))), what, where, make("td", {}, value), when, does)
    if (row.since != null) when.title = new Date(row.since).toLocaleString()
    return {row, element, when}
  }
  function build() {
    const {alarms} = linemon, {said} = alarms, table = $("alarms"), isIn = table.contains(document.activeElement) || document.activeElement?.tagName == "SELECT"
    hasData = true
    const key = JSON.stringify(said.rows)
    if (table.dataset.key != key && !isIn) {   // not under the hand of who is about to choose
      table.dataset.key = key
      rows = said.rows.map(line)
      table.tBodies[0].replaceChildren(...rows.map(({element}) => element))
    }
    table.closest("section").hidden = said.rows.length == 0
    text($("counts"), said.runs == null ? "" : [alarms.counts(said), `${said.watched} watched`].filter(Boolean).join(", "))
    $("not-running").hidden = said.runs !== false
    text($("not-running"), "Alarms are not running: this is how it was when they were. “linemon status” says more.")
    const [head, words] = $("no-alarms").children, isNever = said.runs == null
    $("no-alarms").hidden = said.rows.length > 0
    text(head, isNever ? "Alarms are not running" : $("find").value ? "No such alarm" : "Nothing fires")
    text(words, isNever ? "They are judged by “linemon work”, which “linemon up” runs; “linemon status” says more." : $("find").value ? "No alarm, source or column has that in its name." : `${said.watched} are watched.`)
    $("more-alarms").hidden = !said.more
    text($("more-alarms"), `and ${said.more} more: type to find them`)
    show()
  }
  function show() {
    for (const {row, when} of rows) text(when, row.since == null ? "–" : age(row.since))
  }
  function start() {
    linemon.search.connect()
    for (const button of all(".which")) button.addEventListener("click", () => {
      for (const each of all(".which")) each.setAttribute("aria-pressed", each == button)
      model("wishes").has_all = button.dataset.all != ""
    })
    setInterval(show, linemon.S)
    return 300
  }
  const redraw = () => { if (linemon.alarms.said.rows) build() }
  const state = () => !hasData || linemon.alarms.said.runs !== true ? "waiting" : "live"
  return {start, take: () => {}, draw: () => {}, redraw, state}
})()
