"use strict"
// Numbers and times as people read them: the same for axes, legends, tooltips and the list of sources.
const linemon = (() => {
  const S = 1000, MIN = 60 * S, H = 60 * MIN, D = 24 * H
  const strip = (value, digits) => String(+value.toPrecision(digits))
  // As many digits as asked for, and as many more as tell values apart that differ by `every`.
  function number(value, digits, every) {
    const needed = every > 0 ? Math.floor(Math.log10(Math.abs(value) || 1)) - Math.floor(Math.log10(every) + 1e-9) + 1 : 0
    return strip(value, Math.min(15, Math.max(digits, needed)))
  }
  const power = (value, base, digits) => Math.floor(Math.log(Math.abs(+value.toPrecision(digits))) / Math.log(base) + 1e-9)
  const within = (value, [least, most]) => Math.min(Math.max(value, least), most)

  // Units that take prefixes: the powers of a thousand from which to which, and digits.
  const PREFIXES = {f: -5, p: -4, n: -3, "µ": -2, u: -2, m: -1, "": 0, k: 1, M: 2, G: 3, T: 4}, NAMES = ["f", "p", "n", "µ", "m", "", "k", "M", "G", "T"]
  const UNITS = {
    ...Object.fromEntries(["A", "V", "W", "J", "N", "Pa", "Ω", "F", "H", "T", "Wh", "VA", "Ah"].map((unit) => [unit, [[-5, 4], 4]])),
    m: [[-5, 1], 4], g: [[-5, 1], 4], s: [[-5, 0], 4],
    Hz: [[0, 3], 4], "/s": [[0, 3], 3], "B/s": [[0, 4], 3], "bit/s": [[0, 4], 3],   // as tools for networks and disks count
  }
  const BINARY = ["", "Ki", "Mi", "Gi", "Ti", "Pi"]
  const taken = new Map([["pH", null]])   // units that were taken apart; that one is no henry
  // {base, factor, powers, digits} of a unit that takes prefixes: kWh is 1000 Wh.
  function apart(unit) {
    if (taken.has(unit)) return taken.get(unit)
    let found = null
    for (const prefix of ["", ...Object.keys(PREFIXES)]) {
      const base = unit.slice(prefix.length), known = UNITS[base] ?? (base == "B" && prefix ? [[0, 4], 3] : null)
      if (known && unit.startsWith(prefix)) { found = {base, factor: 1000 ** PREFIXES[prefix], powers: known[0], digits: known[1]}; break }
    }
    taken.set(unit, found)
    return found
  }
  const PARTS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]]
  // Two parts, or as many as show a step of `every`, and of those what is not zero; all in seconds.
  function duration(s, every = 0) {
    if (s < 0) return `-${duration(-s, every)}`
    if (s < 60) return `${number(s, 3, every)} s`
    const first = PARTS.findIndex(([size]) => s >= size), decimals = every > 0 && every < 1 ? Math.ceil(-Math.log10(every) - 1e-9) : 0
    let last = Math.min(first + 1, 3)
    while (last < 3 && every > 0 && every < PARTS[last][0]) last++
    let rest = s + 1e-9 * s
    const parts = PARTS.slice(first, last + 1).map(([size, name]) => {
      const n = Math.floor(rest / size), said = name == "s" && decimals ? +rest.toFixed(decimals) : n
      rest -= n * size
      return [said, name]
    })
    return parts.filter(([said], i) => said || i == 0 || !every).map((part) => part.join(" ")).join(" ")
  }
  // `every`: a difference that must be seen, as the step between ticks; 0 = none.
  function format(value, unit, digits = 4, every = 0) {
    if (value == null || Number.isNaN(value)) return "–"
    if (unit == "%") return `${number(value, Math.abs(value) < 10 ? 2 : 3, every)} %`
    if (unit == "B") {
      const n = value ? within(power(value * 1.024, 1024, 15), [0, 5]) : 0, size = 1024 ** n   // 1000 B are 0.977 KiB
      return `${number(value / size, 3, every / size / 10)} ${BINARY[n]}B`
    }
    const known = apart(unit)
    if (known) {
      const {base, factor, powers} = known, real = value * factor, step = every * factor
      if (base == "s" && Math.abs(real) >= 60) return duration(real, step)
      const wanted = real ? power(real, 1000, known.digits) : Math.log10(factor) / 3
      const n = Math.abs(wanted) > 6 ? 0 : within(wanted, powers), size = 1000 ** n   // 1e300 A is no 1e288 TA
      return `${number(real / size, known.digits, step / size)} ${NAMES[n + 5]}${base}`
    }
    const size = Math.abs(value), isLarge = size >= 1e6 && size < 1e15
    const n = isLarge && !(every > 0 && size / every > 1e4) ? Math.min(power(value, 1000, digits), 4) : 0
    const shown = n ? number(value / 1000 ** n, digits, every / 1000 ** n) + NAMES[n + 5]
      : number(value, Math.max(digits, Math.min(isLarge ? 15 : 6, Math.floor(Math.log10(size)) + 2)), every)
    return unit ? `${shown} ${unit}` : shown
  }
  const SECONDS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400]
  function step(span, unit) {
    const rough = span / 4
    if (!(rough > 0) || !Number.isFinite(rough)) return 1
    const {base: name, factor} = apart(unit) ?? {}
    if (name == "s" && rough * factor > 0.5) {
      const found = SECONDS.find((each) => each >= rough * factor * (1 - 1e-9))
      return (found ?? 86400 * step(span * factor / 86400, "")) / factor
    }
    const base = unit == "B" ? 1024 : 1000
    const scale = base ** Math.floor(Math.log(rough) / Math.log(base))
    const most = base == 1024 ? [256, 512] : [200, 500]   // so that the next prefix begins at a tick
    return scale * ([1, 2, 5, 10, 20, 50, 100, ...most].find((each) => each * scale >= rough * (1 - 1e-9)) ?? base)
  }
  function multiples(start, end, every, offset = 0) {
    const found = []
    for (let n = Math.ceil((start - offset) / every - 1e-9); n * every + offset <= end + every * 1e-9 && found.length < 50; n++)
      found.push(n * every + offset)
    return found
  }
  // About as many as there is room for.
  const ticks = (start, end, unit, isLog) => isLog ? logTicks(start, end) : multiples(start, end, step((end - start) * 4 / (linemon.upwards ?? 4), unit))
  // Where an axis of powers of ten has round values: of few decades also between them.
  function logTicks(start, end) {
    if (end - start < 0.7) return multiples(10 ** start, 10 ** end, step(10 ** end - 10 ** start, "")).map(Math.log10)
    const decades = multiples(Math.floor(start), end, Math.ceil((end - start) / 6)), between = end - start > 3 ? [1] : [1, 2, 5]
    return decades.flatMap((decade) => between.map((n) => decade + Math.log10(n))).filter((at) => at >= start - 1e-9 && at <= end + 1e-9)
  }
  const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, S, 2 * S, 5 * S, 10 * S, 15 * S, 30 * S, MIN, 2 * MIN, 5 * MIN, 10 * MIN, 15 * MIN, 30 * MIN,
    H, 2 * H, 3 * H, 6 * H, 12 * H]
  const DAYS = [1, 2, 7, 14], MONTHS = [1, 3, 6, 12, 24, 60, 120, 240, 600, 1200]
  // Where runs are laid over each other, times are counted from `linemon.zero` (epoch ms), where their marks are.
  // Round in the browser's calendar: its hours, days and months are not all of one length.
  function timeTicks(start, end) {
    if (!(end > start)) return []
    const across = linemon.across ?? 5   // labels that there is room for
    if (linemon.zero) return multiples(start, end, step((end - start) / S * 4 / across, "s") * S, linemon.zero)
    const least = (end - start) / across, every = STEPS.find((each) => each >= least), first = new Date(start)
    if (every <= H) return multiples(start, end, every, new Date(start).setMinutes(0, 0, 0))
    const y = first.getFullYear(), m = first.getMonth(), d = first.getDate()
    const days = DAYS.find((each) => each * D >= least), months = MONTHS.find((each) => each * 30 * D >= least) ?? MONTHS.at(-1)
    // the moment after so many hours, days or months, and whether it is a round one; counted days begin on a Monday
    const [at, isRound] = every ? [(i) => new Date(y, m, d, i), (t) => t.getHours() % (every / H) == 0]
      : days ? [(i) => new Date(y, m, d + i), (t) => (Math.round(Date.UTC(t.getFullYear(), t.getMonth(), t.getDate()) / D) + 3) % days == 0]
      : [(i) => new Date(y, m + i), (t) => (12 * t.getFullYear() + t.getMonth()) % months == 0]
    const found = []
    for (let i = 0, t = at(0); t <= end; t = at(++i)) if (t >= start && isRound(t) && !(+t <= found.at(-1))) found.push(+t)
    return found
  }
  const two = (n) => String(n).padStart(2, "0")
  const date = (t) => `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())}`
  const seconds = (t) => `${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}`
  // A tick's time; the first says of which day it is where that is not today, and midnight, which day begins.
  function clock(ms, ticks) {
    const t = new Date(ms), every = ticks.length > 1 ? ticks[1] - ticks[0] : MIN
    if (linemon.zero) return duration((ms - linemon.zero) / S, every / S)
    if (every >= 27 * D) return date(t).slice(0, every >= 360 * D ? 4 : 7)
    if (every >= 20 * H) return date(t)
    const day = date(t).slice(5), isToday = date(t) == date(new Date())
    if (t.getHours() + t.getMinutes() + t.getSeconds() + t.getMilliseconds() == 0) return day
    const said = every < S ? `${two(t.getSeconds())}.${String(t.getMilliseconds()).padStart(3, "0")}` : every < MIN ? seconds(t) : seconds(t).slice(0, 5)
    return ms == ticks[0] && !isToday ? `${day} ${said}` : said
  }
  // A time in full, to the millisecond where that is not zero.
  function stamp(ms) {
    const {zero} = linemon
    if (zero) return `${duration(Math.abs(ms - zero) / S, Math.abs(ms - zero) < MIN ? 0.001 : 1)} ${ms < zero ? "before" : "after"} the mark`
    const t = new Date(ms)
    return `${date(t)} ${seconds(t)}${ms % S ? `.${String(t.getMilliseconds()).padStart(3, "0")}` : ""}`
  }
  return {format, duration, step, ticks, timeTicks, date, seconds, stamp, clock}
})()
