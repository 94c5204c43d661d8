"use strict"
// How the collector is: the strip of the overview, and the sections of the health page.
linemon.health = (() => {
  const {$, text, make, model, format, duration, date, seconds, age, since, now, S} = linemon
  const SILENT_MS = 10000
  const LATE_S = 900   // of a part, as the alarm "forward behind" has it
  const APART = ["part", "pid", "runs", "since", "behind_s", "failed", "failed_at"]
  const BAD = ["refused", "missed", "lost", "away", "denied", "waits", "failing", "notifiers", "left_out", "trouble"]   // where they say something

  function strip(facts) {
    const isSilent = !(facts.age_ms < SILENT_MS)
    const started = facts.started ? Math.floor((now() - Date.parse(facts.started)) / S) : NaN
    const shown = {
      rows: facts.stored_per_s == null ? "–" : format(facts.stored_per_s, "/s"),
      rejected: facts.rejected_per_s == null ? "–" : format(facts.rejected_per_s, "/s"),
      senders: facts.senders ?? "–",
      sources: facts.sources ?? "–",
      lag: facts.age_ms == null ? "–" : duration(Math.round(Math.max(0, facts.age_ms) / 100) / 10),
      store: facts.store_bytes == null ? "–" : format(facts.store_bytes, "B"),
      up: started >= 0 ? duration(started) : "–",
    }
    for (const [name, value] of Object.entries(shown)) text(document.querySelector(`#strip [data-fact="${name}"]`), String(value))
    const bad = {
      rejected: facts.rejected_per_s > 0, lag: isSilent, sources: facts.sources > 0.85 * facts.max_sources, rows: isSilent,
    }
    for (const [name, isBad] of Object.entries(bad)) document.querySelector(`#strip [data-fact="${name}"]`).classList.toggle("bad", isBad)
    const trouble = facts.trouble || (isSilent ? "The collector is silent: what you see may be old." : "")
    $("trouble").hidden = !trouble
    text($("trouble"), trouble)
  }
  function details(facts) {
    const place = $("counters")
    const pairs = [
      ...Object.entries(facts.counters ?? {}),
      ...Object.entries(facts.rejected ?? {}).map(([reason, n]) => [`rejected: ${reason}`, n]),
      ...Object.entries(facts.dropped ?? {}).map(([reason, n]) => [`dropped: ${reason}`, n]),
      ...Object.entries(facts.held_back ?? {}).map(([reason, n]) => [`held back: ${reason}`, n]),
      ["pages open", facts.pages], ["last tick of this page's server, ms", facts.tick_ms?.toFixed(1)],
    ].filter(([, value]) => value != null)
    const key = JSON.stringify(pairs)
    if (place.dataset.key != key) {
      place.dataset.key = key
      place.replaceChildren(...pairs.map(([name, value]) => make("div", {}, make("dt", {}, name.replaceAll("_", " ")), make("dd", {}, typeof value == "string" && isNaN(value) ? value : Number(value).toLocaleString("en")))))
    }
    const body = $("bad-lines").tBodies[0], lines = [...facts.bad_lines ?? []].reverse(), last = JSON.stringify(lines[0] ?? null) + lines.length
    $("no-bad-lines").hidden = lines.length > 0
    $("bad-lines").hidden = lines.length == 0
    if (body.dataset.key == last) return
    body.dataset.key = last
    body.replaceChildren(...lines.map((bad) => {
      const when = new Date(bad.time / 1e6)
      return make("tr", {}, ...[`${date(when)} ${seconds(when)}`, bad.peer, bad.source, bad.error, bad.line].map((cell) => make("td", {}, String(cell ?? ""))))
    }))
  }
  // What `linemon status` says of each part.
  function parts(found) {
    const table = $("parts"), key = JSON.stringify(found)
    $("no-parts").hidden = found.length > 0
    table.hidden = found.length == 0
    if (table.dataset.key != key) {
      table.dataset.key = key
      table.tBodies[0].replaceChildren(...found.map(part))
    }
    for (const when of table.querySelectorAll("[data-since]")) text(when, `for ${age(Date.parse(when.dataset.since))}`)
  }
  function part(said) {
    const [state, name] = said.runs ? ["ok", "runs"] : said.failed ? ["critical", "waits to start again"] : ["critical", "does not run"]
    const says = Object.entries(said).filter(([what, value]) => !APART.includes(what) && value != null && value !== "")
    return make("tr", {}, make("td", {}, make("span", {class: `level ${state}`}, name), ...said.runs ? [make("span", {class: "muted", "data-since": said.since})] : []),
      make("td", {}, said.part), make("td", {class: said.behind_s > LATE_S ? "warning" : ""}, said.behind_s == null ? "–" : duration(Math.round(said.behind_s))),
      make("td", {}, ...says.map(([what, value]) => make("span", {class: `says${BAD.includes(what) && value ? " warning" : ""}`}, `${what.replaceAll("_", " ")}\u00a0${written(value)}`))),
      make("td", {}, said.failed ?? "", ...said.failed_at ? [make("span", {class: "muted"}, since(Date.parse(said.failed_at)))] : []))
  }
  const written = (value) => typeof value == "number" ? value.toLocaleString("en") : typeof value == "string" ? value : Array.isArray(value) ? value.join("; ") : JSON.stringify(value)
  function start() {
    linemon.explain.start()
    if (!$("strip")) return
    model("answers").properties.health.change.connect(() => {
      const facts = JSON.parse(model("answers").health)
      strip(facts)
      if ($("counters")) details(facts)
      if ($("parts")) parts(facts.parts ?? [])
    })
  }
  return {start}
})()
