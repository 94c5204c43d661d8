"use strict"
// Numbers and times as people read them: the same for axes, legends, tooltips and the list of sources.
const linemon = (() => {
  const S = 1000, MIN = 60 * S, H = 60 * MIN, D = 24 * H
  const strip = (value, digits) => String(+value.toPrecision(digits))
  function scaled(value, unit, base, prefixes, digits) {
    let i = 0
    while (Math.abs(value) >= (base == 1024 ? 1000 : base) && i < prefixes.length - 1) { value /= base; i++ }
    return `${strip(value, digits)} ${prefixes[i]}${unit}`.trim()
  }
  function duration(s) {
    if (Math.abs(s) < 60) return `${strip(s, 3)} s`
    if (s < 3600) return `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`
    if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`
    return `${Math.floor(s / 86400)} d ${Math.floor(s % 86400 / 3600)} h`
  }
  function format(value, unit, digits = 4) {
    if (value == null || Number.isNaN(value)) return "–"
    switch (unit) {
      case "B": return scaled(value, unit, 1024, ["", "Ki", "Mi", "Gi", "Ti", "Pi"], 3)
      case "B/s": return scaled(value, unit, 1000, ["", "k", "M", "G", "T"], 3)   // as tools for networks and disks count
      case "Hz": return scaled(value, unit, 1000, ["", "k", "M", "G"], 4)
      case "/s": return scaled(value, unit, 1000, ["", "k", "M", "G"], 3)
      case "s": return duration(value)
      case "%": return `${strip(value, Math.abs(value) < 10 ? 2 : 3)} %`
    }
    const size = Math.abs(value)
    const number = size >= 1e6 && size < 1e15 ? scaled(value, "", 1000, ["", "k", "M", "G", "T"], digits).replace(" ", "")
      : strip(value, Math.max(digits, Math.min(6, Math.floor(Math.log10(size)) + 2)))
    return unit ? `${number} ${unit}` : number
  }
  function step(span, unit) {
    const rough = span / 4
    if (!(rough > 0) || !Number.isFinite(rough)) return 1
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
  const ticks = (start, end, unit) => multiples(start, end, step(end - start, unit))
  const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, S, 2 * S, 5 * S, 10 * S, 15 * S, 30 * S, MIN, 2 * MIN, 5 * MIN, 10 * MIN, 15 * MIN, 30 * MIN,
    H, 2 * H, 3 * H, 6 * H, 12 * H, D, 2 * D, 7 * D, 14 * D, 30 * D, 90 * D, 365 * D, 3650 * D]
  // round in the browser's zone: counted from the last local midnight before the window
  function timeTicks(start, end) {
    if (!(end > start)) return []
    return multiples(start, end, STEPS.find((each) => each >= (end - start) / 5) ?? (end - start), new Date(start).setHours(0, 0, 0, 0))
  }
  const two = (n) => String(n).padStart(2, "0")
  const date = (t) => `${t.getFullYear()}-${two(t.getMonth() + 1)}-${two(t.getDate())}`
  const seconds = (t) => `${two(t.getHours())}:${two(t.getMinutes())}:${two(t.getSeconds())}`
  function clock(ms, ticks) {
    const t = new Date(ms), every = ticks.length > 1 ? ticks[1] - ticks[0] : MIN
    if (every >= D) return date(t)
    if (every < S) return `${two(t.getSeconds())}.${String(t.getMilliseconds()).padStart(3, "0")}`
    return every < MIN ? seconds(t) : seconds(t).slice(0, 5)
  }
  return {format, duration, step, ticks, timeTicks, date, seconds, clock}
})()
