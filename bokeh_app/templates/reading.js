"use strict"
// What a chart draws in place of its columns' values: how much they change in a second, or means over a span before each
// moment. The chart's menu sets it, its head, unit and address say so. Steps, too, are a way to read a line.
linemon.reading = (() => {
  const {$, all, text, make, model, menu, Points, S} = linemon
  const SPANS = ["10s", "1m", "5m", "15m", "1h", "6h", "24h"], SIZES = {s: 1, m: 60, h: 3600, d: 86400}
  const SELDOM = 0.1              // a counter falls, and what stands still moves, in no more than so many of its steps
  const PLAIN = {isRate: false, over: ""}
  let charts = []                 // {isRate, over: "1m"} of each

  const seconds = (over) => { const [, n, size] = /^(\d+)([smhd])$/.exec(over) ?? []; return n * SIZES[size] || 0 }
  const settingOf = (chart) => charts[chart] ?? PLAIN
  const isRate = (chart) => settingOf(chart).isRate
  const perSecond = (unit) => unit.endsWith("/s") ? `${unit}²` : `${unit}/s`
  const unitOf = (unit, chart) => isRate(chart) ? perSecond(unit) : unit
  // How long (ms) the means of a chart are over: no longer than what is in sight, or all charts of the page would get
  // coarse points.
  function spanOf({over}) {
    const {isLive, span, range} = linemon.time
    return !over ? 0 : Math.min(S * seconds(over), isLive ? span * S || Infinity : range.end - range.start)
  }
  // How far (ms) before what is in sight the values must be known.
  const lead = () => Math.max(0, ...charts.map(spanOf))

  // Per second, from each row, or the mean of each bucket, to the next: {values, weights}. What seldom falls is a counter,
  // which then started anew or wrapped: of that step nothing is known. The newest bucket is not whole yet.
  function rates(points, at) {
    const {times, bucket, length} = points, mean = points.mean(at), low = points.low(at), high = points.high(at)
    const values = new Float64Array(length).fill(NaN), weights = new Float64Array(length), falls = []
    const middle = (i) => { const size = points.lengthAt(times[i]); return size ? (Math.floor(times[i] / size) + 0.5) * size : times[i] }
    const count = points.count(at), pace = paceOf(points, count)
    const between = (i, j) => {     // of rows that come evenly their number says it better than where buckets end
      const passed = middle(j) - middle(i), even = pace * (count[i] + count[j]) / 2
      return (Math.abs(even - passed) <= pace ? even : passed) / S
    }
    let last = -1, steps = 0
    for (let i = 0; i < length - (bucket > 0); i++) {
      if (Number.isNaN(mean[i])) continue
      const passed = last < 0 ? 0 : between(last, i)
      if (last >= 0 && !(passed > 0)) continue
      if (last >= 0) {
        steps++
        if (low[i] < high[last]) falls.push(i)
        values[i] = (mean[i] - mean[last]) / passed
        weights[i] = passed
      }
      last = i
    }
    if (falls.length <= Math.max(2, SELDOM * steps)) for (const i of falls) values[i] = NaN
    return {values, weights}
  }
  // How far (ms) rows are apart in buckets that follow each other, 0 = there are none.
  function paceOf({times, bucket, length}, count) {
    const slot = (i) => Math.floor(times[i] / bucket)
    let span = 0, rows = 0
    for (let i = 1; bucket && i < length - 1; i++) if (slot(i) - slot(i - 1) == 1 && slot(i + 1) - slot(i) == 1) { span += bucket; rows += count[i] }
    return rows && span / rows
  }
  // The mean of the span (ms) before each value, itself among them, by their weights.
  function means(times, values, weights, span) {
    const found = new Float64Array(values.length).fill(NaN), base = values.find((value) => !Number.isNaN(value)) ?? 0
    let from = 0, sum = 0, weight = 0
    const count = (i, sign) => { if (!Number.isNaN(values[i])) { sum += sign * weights[i] * (values[i] - base); weight += sign * weights[i] } }
    for (let i = 0; i < values.length; i++) {
      count(i, 1)
      while (times[from] <= times[i] - span) count(from++, -1)
      if (!Number.isNaN(values[i])) found[i] = base + sum / weight
    }
    return found
  }
  // A column, {points, at}, as a chart draws it.
  function of(column, chart) {
    const {isRate} = settingOf(chart), span = spanOf(settingOf(chart)), {points, at} = column
    if (!isRate && !span) return column
    const key = `${at} ${chart}`, is = `${points.version} ${isRate} ${span}`, kept = (points.made ??= new Map()).get(key)
    if (kept?.is == is) return {points: kept.made, at: 0}
    let {values, weights} = isRate ? rates(points, at) : {values: points.mean(at), weights: points.count(at)}
    if (span) values = means(points.times, values, weights, span)
    const made = Object.assign(new Points(1), {
      bucket: points.bucket, longer: points.longer, length: points.length, hasHoles: [true], isBeyond: [points.isBeyond[at]],
      arrays: [points.times, values, values, values, weights],
    })
    points.made.set(key, {is, made})
    return {points: made, at: 0}
  }
  // Whether it is drawn in steps: whole numbers that stand still for long, as of a door or a count of processes. It is
  // looked at as seldom as gaps are.
  function isStepped(points, at) {
    const kept = points.gaps ??= new Map(), key = `steps ${at}`
    if (!kept.has(key)) kept.set(key, standsStill(points.low(at), points.high(at)))
    return kept.get(key)
  }
  function standsStill(low, high) {
    let last = NaN, steps = 0, moves = 0, isSwitch = true
    for (let i = 0; i < low.length; i++) {
      if (Number.isNaN(low[i])) continue
      if (!Number.isInteger(low[i]) || !Number.isInteger(high[i])) return false
      isSwitch &&= low[i] >= 0 && high[i] <= 1
      steps++
      if (low[i] != high[i] || (low[i] != last && last == last)) moves++
      last = high[i]
    }
    return isSwitch || moves <= SELDOM * steps
  }

  // -- what the chart's head, its axis and the address say

  function said(chart) {
    const {isRate, over} = settingOf(chart), span = spanOf({over}), isCut = span < S * seconds(over)
    return [isRate && "per second", over && `mean over ${linemon.duration(Math.round(span / S), 1)}${isCut ? ", as no more is in sight" : ""}`].filter(Boolean).join(", ")
  }
  const head = (chart) => text(document.querySelector(`#card${chart} figcaption .reading`), said(chart))
  function say(chart) {
    if (settingOf(chart) != PLAIN) head(chart)
  }
  function tell(chart) {
    const {unit, right} = linemon.about.panels[chart], axes = model(`chart${chart}`)
    head(chart)
    text(document.querySelector(`#card${chart} figcaption .unit`), unitOf(unit, chart))
    for (const [sides, its] of [[axes.left, unit], [axes.right, right]])
      for (const {ticker, formatter} of sides) for (const each of [ticker, formatter]) each.args = {...each.args, unit: unitOf(its, chart)}
    linemon.charts.states[chart].isSet = false
  }
  function set(chart, change) {
    const here = new URL(location), key = menu.keyOf(chart), {searchParams} = here
    charts[chart] = {...settingOf(chart), ...change}
    const {isRate, over} = charts[chart]
    const put = (name, isOther, value) => {
      const others = searchParams.getAll(name).filter(isOther)
      searchParams.delete(name)
      for (const each of value ? [...others, value] : others) searchParams.append(name, each)
    }
    put("rate", (each) => each != key, isRate && key)
    put("mean", (each) => each.slice(each.indexOf(":") + 1) != key, over && `${over}:${key}`)
    history.replaceState(null, "", here)
    tell(chart)
    linemon.time.ask()
    linemon.charts.redraw()
  }
  function restore() {
    const given = new URLSearchParams(location.search), before = charts
    charts = linemon.about.panels.map(() => PLAIN)
    for (const key of given.getAll("rate")) if (menu.chartOf(key) >= 0) charts[menu.chartOf(key)] = {...PLAIN, isRate: true}
    for (const each of given.getAll("mean")) {
      const over = each.slice(0, each.indexOf(":")), chart = menu.chartOf(each.slice(over.length + 1))
      if (chart >= 0 && seconds(over)) charts[chart] = {...charts[chart], over}
    }
    charts.forEach((each, chart) => { if (each != (before[chart] ?? PLAIN)) tell(chart) })
  }
  function choice(chart) {
    const {over} = settingOf(chart), select = make("select", {}), spans = over && !SPANS.includes(over) ? [...SPANS, over] : SPANS
    select.append(make("option", {value: ""}, "none"), ...spans.map((each) => make("option", {value: each}, linemon.duration(seconds(each), 1))))
    select.value = over
    select.addEventListener("change", () => set(chart, {over: select.value}))
    return make("label", {title: "Each point is the mean of so long before it"}, "Mean over ", select)
  }
  function start() {
    restore()
    addEventListener("popstate", () => { restore(); linemon.charts.redraw() })
    menu.add((chart) => [{text: "Per second", on: isRate(chart), does: () => set(chart, {isRate: !isRate(chart)})}, choice(chart)])
  }
  return {start, say, said, of, isStepped, isRate, unitOf, perSecond, lead, rates, means, standsStill}
})()
