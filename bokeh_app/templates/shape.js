"use strict"
// Of what is in sight: how often which values come (a histogram), or one column over another (XY). They are made of the
// points that the charts below draw, rates and means too; what is drawn is said.
linemon.shape = (() => {
  const {$, text, make, model, format, colour, step, fill, date, seconds, duration, menu, S} = linemon
  const MOST_BINS = 200, MOST_LINES = 8, NEAR = 12   // pixels
  const SHARES = [["5 %", 0.05], ["median", 0.5], ["95 %", 0.95]]
  let bins = [], pairs = [], width = 1

  const lineOf = (number) => { const chart = linemon.values.chartOf(number); return {number, chart, unit: linemon.values.unit(number, chart), ...linemon.draw.columnOf(number, chart)} }
  const shown = () => linemon.values.drawn().filter((number) => !linemon.charts.hidden.has(number)).slice(0, MOST_LINES).map(lineOf)
  function* inSight({points, at}) {
    const {start, end} = linemon.time.range, mean = points.mean(at)
    for (let i = points.before(start); i < points.length && points.times[i] <= end; i++) if (!Number.isNaN(mean[i])) yield i
  }
  // What the points are: rows, or buckets so long, and what the charts make of these.
  function saying(lines, ofRows, ofBuckets) {
    const sources = lines.map(({number}) => linemon.draw.columnOf(number).points), made = lines.map(({chart}) => linemon.reading.said(chart)).find(Boolean)
    const longest = Math.max(...sources.map(({isThinned, bucket, longer}) => isThinned ? Math.max(bucket, ...longer.map(([, size]) => size)) : 0))
    const buckets = longest && `buckets of ${duration(longest / S, longest % S ? 0.001 : 1)}`
    return made ? `${made}, of ${buckets || "rows"} in sight` : buckets ? ofBuckets(buckets) : ofRows
  }
  function axes(x, y, xUnit, yUnit) {
    const {x_range, y_range, below: [xAxis], left: [yAxis]} = model("shape")
    for (const [range, [start, end]] of [[x_range, x], [y_range, y]]) if (range.start != start || range.end != end) range.setv({start, end})
    for (const [axis, unit] of [[xAxis, xUnit], [yAxis, yUnit]]) {
      for (const each of [axis.ticker, axis.formatter]) if (each.args.unit != unit) each.args = {...each.args, unit}
    }
  }
  function table(heads, rows) {
    $("shape-facts").tHead.replaceChildren(make("tr", {}, ...heads.map((head) => make("th", {scope: "col"}, head))))
    $("shape-facts").tBodies[0].replaceChildren(...rows.map(([name, ...cells]) => make("tr", {}, make("th", {scope: "row"}, name), ...cells.map((cell) => make("td", {}, cell)))))
  }

  // -- a histogram

  // The rows of a line as [value, how many]: exact but of buckets of more than three rows, of which the least and the
  // greatest are known, and the mean of the others.
  function rowsOf(line) {
    const {points, at} = line, low = points.low(at), mean = points.mean(at), high = points.high(at), count = points.count(at), rows = []
    for (const i of inSight(line)) {
      const n = points.isThinned ? count[i] : 1
      if (n < 2) rows.push([mean[i], 1])
      else rows.push([low[i], 1], [high[i], 1])
      if (n > 2) rows.push([Math.min(Math.max((mean[i] * n - low[i] - high[i]) / (n - 2), low[i]), high[i]), n - 2])
    }
    return rows.sort(([a], [b]) => a - b)
  }
  function histogram() {
    const all = shown().map((line) => ({...line, rows: rowsOf(line)})).filter(({rows}) => rows.length), lines = all.filter(({unit}) => unit == all[0].unit)
    if (!lines.length) return nothing()
    const low = Math.min(...lines.map(({rows}) => rows[0][0])), high = Math.max(...lines.map(({rows}) => rows.at(-1)[0])), {unit} = lines[0]
    const isWhole = lines.every(({rows}) => rows.every(([value]) => Number.isInteger(value)))
    width = step(high - low || Math.abs(high) / 10 || 1, unit) / 10
    if (isWhole) width = Math.max(1, Math.round(width))
    const first = Math.floor(low / width), many = Math.min(MOST_BINS, Math.floor(high / width) - first + 1)
    const areas = {xs: [], ys: [], color: [], alpha: []}, outlines = {xs: [], ys: [], color: [], dash: []}
    bins = lines.map(({number, rows}, i) => {
      const counts = Array(many).fill(0)
      for (const [value, n] of rows) counts[Math.min(Math.floor(value / width) - first, many - 1)] += n
      const xs = [first * width], ys = [0]
      counts.forEach((n, bin) => { xs.push((first + bin) * width, (first + bin + 1) * width); ys.push(n, n) })
      xs.push((first + many) * width)
      ys.push(0)
      const color = colour(`line-${colourOf(number)}`)
      for (const [to, extra] of [[areas, {alpha: lines.length > 1 ? 0.15 : 0.4}], [outlines, {dash: "solid"}]])
        for (const [field, value] of Object.entries({xs, ys, color, ...extra})) to[field].push(value)
      return {name: linemon.values.nameOf(number), counts, first, all: counts.reduce((sum, n) => sum + n, 0)}
    })
    const [, top] = linemon.draw.rangeFor(0, Math.max(...bins.flatMap(({counts}) => counts)), "")
    axes([first * width, (first + many) * width], [0, top], unit, "")
    show(areas, outlines)
    const others = all.length > lines.length ? `; ${all.length - lines.length} of another unit left out` : ""
    text($("shape-said"), saying(lines, "rows in sight", (buckets) => `rows in sight; of ${buckets} the least and the greatest, and the others as their mean`) + others)
    const every = width / 10, say = (value) => format(value, unit, 4, every)
    table(["column", "rows", "least", ...SHARES.map(([name]) => name), "mean", "greatest"], lines.map(({rows, number}, i) => {
      const {name, all} = bins[i], sum = rows.reduce((sum, [value, n]) => sum + value * n, 0)
      return [make("span", {}, make("i", {style: `--color: var(--line-${colourOf(number)})`}), name), String(all), say(rows[0][0]), ...SHARES.map(([, share]) => say(quantile(rows, share * all))), say(sum / all), say(rows.at(-1)[0])]
    }))
  }
  function quantile(rows, rank) {
    let sum = 0
    return rows.find(([, n]) => (sum += n) >= rank)[0]
  }
  const colourOf = (number) => linemon.about.panels[linemon.values.chartOf(number)].lines.findIndex(({column}) => column == number) % 8

  // -- one over the other

  function xy() {
    const [x, y] = linemon.about.columns.slice(0, 2).map((_, number) => lineOf(number))
    if (!y) return nothing()
    const {places} = linemon.charts, isOneSource = places[x.number].source == places[y.number].source
    pairs = [...inSight(x)].map((i) => {   // of two sources, or of fields that come in turn, the values that are nearest in time
      const time = x.points.times[i], beside = isOneSource ? y.points.mean(y.at)[i] : NaN
      return [x.points.mean(x.at)[i], beside == beside ? beside : linemon.values.valueAt(y.number, time, y.chart), time]
    }).filter(([, value]) => !Number.isNaN(value))
    if (!pairs.length) return nothing()
    const ends = (values, unit) => {   // round, but no further than must be: zero says nothing here
      const low = Math.min(...values), high = Math.max(...values), every = step(high - low || Math.abs(high) || 1, unit) / 2
      return [Math.floor(low / every - 0.1) * every, Math.ceil(high / every + 0.1) * every]
    }
    const xs = pairs.map(([value]) => value), ys = pairs.map(([, value]) => value), color = colour("line-0"), [newest] = pairs.slice(-1)
    axes(ends(xs, x.unit), ends(ys, y.unit), x.unit, y.unit)
    const {x_range, y_range} = model("shape"), AGES = ["40", "70", "a0", ""]   // the older, the paler
    const cross = {xs: [[newest[0], newest[0]], [x_range.start, x_range.end]], ys: [[y_range.start, y_range.end], [newest[1], newest[1]]], color: Array(2).fill(colour("muted")), dash: ["dotted", "dotted"]}
    show({xs: [], ys: [], color: [], alpha: []}, cross, {xs, ys, color: xs.map((_, i) => color + AGES[Math.floor(AGES.length * i / xs.length)])})
    text($("shape-said"), `${pairs.length} points: ${saying([x, y], "rows in sight", (buckets) => `means of ${buckets} in sight`)}; older ones paler; the dotted lines cross at the newest; r = ${correlation(xs, ys)}`)
    const say = (values, unit, number) => [Math.min(...values), Math.max(...values), values.at(-1)].map((value) => format(value, unit, 4, linemon.values.stepOf(number)))
    table(["column", "least", "greatest", "newest"], [
      [`x: ${linemon.values.nameOf(x.number)}`, ...say(xs, x.unit, x.number)],
      [`y: ${linemon.values.nameOf(y.number)}`, ...say(ys, y.unit, y.number)],
    ])
  }
  function correlation(xs, ys) {
    const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length, [mx, my] = [mean(xs), mean(ys)]
    let xx = 0, yy = 0, xy = 0
    xs.forEach((x, i) => { xx += (x - mx) ** 2; yy += (ys[i] - my) ** 2; xy += (x - mx) * (ys[i] - my) })
    return xx && yy ? (xy / Math.sqrt(xx * yy)).toFixed(3) : "–"
  }

  function show(areas, lines, dots = {xs: [], ys: [], color: []}) {
    fill("areas of shape", areas)
    fill("lines of shape", lines)
    fill("dots of shape", dots)
  }
  function nothing() {
    bins = pairs = []
    show({xs: [], ys: [], color: [], alpha: []}, {xs: [], ys: [], color: [], dash: []})
    text($("shape-said"), "no data in sight")
    table([], [])
  }
  function draw() {
    if ($("shape")) linemon.about.shape == "xy" ? xy() : histogram()
  }
  function under({x, sx, sy}) {
    if (linemon.about.shape == "histogram") {
      const found = bins.filter(({counts, first}) => counts[Math.floor(x / width) - first] != null), at = Math.floor(x / width), unit = linemon.values.unit(0, linemon.values.chartOf(0))
      return found.length ? [`${format(at * width, unit, 4, width)} to ${format((at + 1) * width, unit, 4, width)}`, ...found.map(({name, counts, first, all}) => {
        const n = counts[at - first]
        return `${name}: ${n} rows, ${(100 * n / all).toPrecision(3)} %`
      })] : []
    }
    const {x_scale, y_scale} = linemon.drawing("shape").frame, distance = ([a, b]) => Math.hypot(x_scale.compute(a) - sx, y_scale.compute(b) - sy)
    const near = pairs.reduce((best, each) => best && distance(best) <= distance(each) ? best : each, null)
    if (!near || distance(near) > NEAR) return []
    const when = new Date(near[2]), say = (i) => format(near[i], lineOf(i).unit, 4, linemon.values.stepOf(i))
    return [`${date(when)} ${seconds(when)}`, ...[0, 1].map((i) => `${linemon.values.nameOf(i)}: ${say(i)}`)]
  }
  function hover(event) {
    const said = event ? under(event) : []
    $("tip").hidden = !said.length
    $("tip").replaceChildren(...said.map((words) => make("p", {}, words)))
    if (said.length) linemon.values.float($("figure-shape"), event.sx, event.sy)
  }

  // -- how one comes here, and chooses columns

  const term = (number) => { const {source, name} = linemon.about.columns[number]; return linemon.search.term(linemon.about.sources[source], name) }
  function go(shape, terms) {
    const here = new URLSearchParams(location.search), next = new URLSearchParams({[shape]: terms.join(",")})
    for (const name of ["window", "from", "to"]) if (here.has(name)) next.set(name, here.get(name))
    location.search = next
  }
  function items(chart) {
    const {about, charts, values} = linemon, seen = about.panels[chart].lines.map(({column}) => column).filter((column) => !charts.hidden.has(column))
    const [x, y] = [...seen, ...values.drawn().filter((column) => !seen.includes(column))]
    return [
      {text: "Histogram", does: () => go("histogram", seen.slice(0, MOST_LINES).map(term))},
      ...y == null ? [] : [{text: "One over the other (XY)", does: () => go("xy", [x, y].map(term))}],
    ]
  }
  function choices() {
    const {about} = linemon, names = about.shape == "xy" ? ["X", "Y"] : ["Column"], own = about.columns.map((_, number) => term(number))
    const terms = about.choices.map(([source, column]) => [linemon.search.term(source, column), about.sources.length > 1 ? `${source} ${column}` : column])
    return names.map((name, i) => {
      const select = make("select", {}, ...terms.map(([value, label]) => make("option", {value}, label)))
      select.value = own[i]
      select.addEventListener("change", () => go(about.shape, names.map((_, n) => n == i ? select.value : own[n])))
      return make("label", {}, `${name} `, select)
    })
  }
  function start() {
    menu.add(items)
    if (!$("shape")) return
    $("shape-choice").append(...choices())
    model("shape").on_event("mousemove", hover)
    model("shape").on_event("mouseleave", () => hover(null))
  }
  return {start, draw, rowsOf}
})()
