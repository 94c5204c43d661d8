"use strict"
// Times as people type them, in the browser's calendar: in the field, and in the address.
linemon.when = (() => {
  const {$, all, text, keys, date, seconds, stamp, duration} = linemon, S = 1000
  const EXPECTED = "expected one such as “yesterday 14:00 to 16:00”, “14:00”, “last monday”, “2 h ago”, “-90m”, 2026-11-25 or 2026-11-25T14:00"
  const DAYS = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"]
  const UNIT = "(?:s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?)", COUNT = "(?:\\d+(?:\\.\\d+)?|an?)"
  const BACK = new RegExp(`^(?:-|(?:last|past) )?((?:${COUNT} ?${UNIT} ?)+)(?: ?ago)?$`), PART = new RegExp(`(${COUNT}) ?(${UNIT})`, "g")
  const LENGTH_S = {s: 1, m: 60, h: 3600}
  const DAY = `(?:(\\d{4})-)?(\\d\\d)-(\\d\\d)|today|yesterday|(?:(?:last|on) )?(${DAYS.map((day) => `${day}|${day.slice(0, 3)}`).join("|")})`
  const CLOCK = "(\\d\\d?)(?::(\\d\\d)(?::(\\d\\d)(?:[.,](\\d{1,9}))?)?)?(?: ?([ap])m)?", ZONE = "(z|[+ -]\\d\\d(?::?\\d\\d)?)?"   // a plus is a blank in an address
  const MOMENT = new RegExp(`^(?:(${DAY})(?:t|,? (?:at )?|$))?(?:${CLOCK}${ZONE})?$`)

  const midnight = (time, days = 0) => { const day = new Date(time); return +new Date(day.getFullYear(), day.getMonth(), day.getDate() + days) }
  // So many days before at the same time of the day, and the rest as it is.
  function before(now, said) {
    let days = 0, rest = 0
    for (const [, count, unit] of said.matchAll(PART)) {
      const n = count.startsWith("a") ? 1 : +count, size = {d: 1, w: 7}[unit[0]]
      if (size && Number.isInteger(n)) days += n * size
      else rest += n * (size ? 86400 * size : LENGTH_S[unit[0]]) * S
    }
    const day = new Date(now)
    return +day.setDate(day.getDate() - days) - rest
  }
  // The midnight that a day begins with: without a year, or as a day of the week, the latest one.
  function dayOf([said, year, month, number, weekday], now) {
    if (weekday) return midnight(now, -((new Date(now).getDay() - DAYS.findIndex((day) => day.startsWith(weekday)) + 7) % 7 || 7))
    if (!month) return midnight(now, said == "yesterday" ? -1 : 0)
    const thisYear = new Date(now).getFullYear(), at = (year) => new Date(year, month - 1, number)
    const found = at(year ?? (at(thisYear) > now ? thisYear - 1 : thisYear))
    return found.getMonth() == month - 1 ? +found : NaN
  }
  // A time of the day on a day: NaN where there is none such.
  function onDay(day, [hour, minute = "0", second = "0", fraction = "", half], zone) {
    if (hour == null || minute > 59 || second > 59 || (half ? hour < 1 || hour > 12 : hour > 23)) return NaN
    const t = new Date(day), h = half ? hour % 12 + (half == "p" ? 12 : 0) : +hour, ms = Math.floor(+`0.${fraction || 0}` * S)
    if (!zone) return +new Date(t.getFullYear(), t.getMonth(), t.getDate(), h, minute, second, ms)
    const [, sign = "+", hours = 0, minutes = 0] = /^([+ -])(\d\d):?(\d\d)?/.exec(zone) ?? []
    return Date.UTC(t.getFullYear(), t.getMonth(), t.getDate(), h, minute, second, ms) - (sign == "-" ? -1 : 1) * (hours * 60 + +(minutes || 0)) * 60 * S
  }
  // {at, end, isSpan, isWeekday} of one time; `end` is that of a day. A clock alone is the latest such time, or the first
  // after another one.
  function one(said, now, after = NaN) {
    if (typeof said == "number") return {at: said}
    const words = said.trim().toLowerCase().replace(/\s+/g, " ").replace(new RegExp(`^(last|past) (?=${UNIT}$)`), "$1 1 ")
    const wrong = () => new Error(`“${said.slice(0, 60)}” is not a time: ${EXPECTED}`)
    if (words == "now") return {at: now}
    const back = BACK.exec(words)
    if (back) return {at: before(now, back[1]), isSpan: true}
    if (/^\d{9,}(\.\d+)?$/.test(words)) return {at: words / 1e3 ** [1e11, 1e14, 1e17].filter((limit) => +words >= limit).length * S}
    const [found, ...day] = MOMENT.exec(words) ?? [], clock = day.splice(5, 5), [zone] = day.splice(5)
    if (!found || !(day[0] ?? clock[0])) throw wrong()
    if (!day[0] && !clock[1] && !clock[4]) throw wrong()       // a bare number
    const begin = day[0] ? dayOf(day, now) : midnight(after >= 0 ? after : now)
    if (clock[0] == null) {
      if (Number.isNaN(begin)) throw wrong()
      return {at: begin, end: midnight(begin, 1), isWeekday: !!day[4]}
    }
    let at = onDay(begin, clock, zone)
    if (!day[0] && after >= 0 && at <= after) at = onDay(midnight(begin, 1), clock, zone)
    if (!day[0] && !(after >= 0) && at > now) at = onDay(midnight(begin, -1), clock, zone)
    if (Number.isNaN(at)) throw wrong()
    return {at, isWeekday: !!day[4]}
  }
  // [from, to] in epoch ms of one time or two, each a text or epoch ms. One alone is a day, or a span until now, or the
  // beginning of `length` ms.
  function between(from, to, now, length) {
    const first = one(from, now)
    if (to == null) return [first.at, first.end ? Math.max(Math.min(first.end, now), first.at + S) : first.isSpan ? now : first.at + length]
    const last = one(to, now, first.at), day = new Date(last.end ?? last.at)
    const until = last.isWeekday && last.at < first.at ? day.setDate(day.getDate() + 7) : +day
    if (!(until > first.at)) throw new Error(`It ends before it begins: from ${stamp(first.at)} to ${stamp(until)}`)
    return [first.at, until]
  }
  // The same of one text. A hyphen stands between two clocks without a date, where it is no zone.
  function read(said, now, length) {
    const words = said.trim(), hyphen = /\d{4}-\d\d-\d\d/.test(words) ? /(?!)/ : /(?<=:\d\d|\d[ap]m)-(?=\d)/i
    const parts = words.split(new RegExp(`\\s+(?:to|until|till|-)\\s+|\\s*(?:–|—|\\.\\.+)\\s*|${hyphen.source}`, "i"))
    if (parts.length > 2) throw new Error(`“${said.slice(0, 60)}” has ${parts.length} times: ${EXPECTED}`)
    return between(parts[0], parts[1], now, length)
  }

  // -- how they are written, and the field

  // As `read` takes it: no more digits than it needs, the day of the second only where it is another one.
  function spell(from, to) {
    const day = (time) => date(new Date(time)), isWhole = [from, to].every((time) => time % (60 * S) == 0)
    const clock = (time) => isWhole ? seconds(new Date(time)).slice(0, 5) : stamp(time).slice(11)
    return `${day(from)} ${clock(from)} to ${day(from) == day(to) ? "" : `${day(to)} `}${clock(to)}`
  }
  // What is in sight, to as many digits as matter.
  function inSight() {
    const {start, end} = linemon.time.range, least = end - start < 30 * S ? 1 : S
    return spell(...[start, end].map((time) => Math.round(time / least) * least))
  }
  function tell() {               // on the button that opens the field
    const {isLive, span} = linemon.time, label = all(".window").find((each) => +each.dataset.seconds == span)?.dataset.window
    if ($("when")) text($("when"), isLive ? (span ? `Last ${label}` : "All there is") : inSight().replaceAll(`${date(new Date(linemon.now()))} `, ""))
  }
  function preview() {
    const {range} = linemon.time, {oldest, newest} = linemon.charts, place = $("when-said")
    place.className = "warning"
    try {
      const [from, to] = read($("when-text").value, linemon.now(), range.end - range.start)
      if (to <= oldest) throw new Error(`Nothing so old is kept: the oldest row is of ${stamp(oldest)}`)
      if (from > newest) throw new Error(`The newest row is of ${stamp(newest)}`)
      place.className = "muted"
      text(place, `${spell(from, to)} (${duration((to - from) / S, 1)})`)
      return [from, to]
    } catch (error) {
      text(place, error.message)
      return null
    }
  }
  function open() {
    const field = $("when-text")
    if ($("when-dialog").open) return
    field.value = inSight()
    $("when-dialog").showModal()
    field.select()
    preview()
  }
  function show(event) {
    event.preventDefault()
    const isLive = $("when-text").value.trim().toLowerCase() == "now", sight = isLive || preview()
    if (!sight) return
    $("when-dialog").close()
    if (isLive) keys["0"]()
    else linemon.time.go(...sight)
  }
  function start() {
    if (!$("when")) return        // a page of runs is in no calendar
    $("when").addEventListener("click", open)
    $("when-text").addEventListener("input", preview)
    $("when-form").addEventListener("submit", show)
    $("when-cancel").addEventListener("click", () => $("when-dialog").close())
    for (const each of all("#when-dialog .example")) each.addEventListener("click", () => { $("when-text").value = each.textContent; preview() })
    keys.t = open
  }
  return {between, read, spell, inSight, tell, start}
})()
