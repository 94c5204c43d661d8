"use strict"
// The points in the charts: one array of times, one of values per column, in time order, with gaps as NaN.
linemon.Points = class {
  constructor(columns) {
    this.names = columns.map((number) => `c${number}`)
    this.times = new Float64Array(0)
    this.values = Object.fromEntries(this.names.map((name) => [name, this.times]))
  }
  get newest() { return this.times.length ? this.times[this.times.length - 1] : NaN }

  // How many points are earlier.
  before(time) {
    let low = 0, high = this.times.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.times[middle] < time) low = middle + 1
      else high = middle
    }
    return low
  }
  // Forget the first `drop` points and take `times.length` more; `values` holds their columns one after the other.
  add(times, values, drop) {
    const kept = this.times.length - drop, {join, insert, gap} = linemon.Points
    let joined = join(this.times.subarray(drop), times), order = null
    for (let i = Math.max(1, kept); i < joined.length && order == null; i++) if (joined[i] < joined[i - 1])  // late rows
      order = Uint32Array.from(joined.keys()).sort((a, b) => joined[a] - joined[b])
    const sorted = (array) => order ? array.map((_, i) => array[order[i]]) : array
    const isNew = (i) => (order ? order[i] : i) >= kept
    joined = sorted(joined)
    const usual = gap(joined), breaks = []
    for (let i = 1; i < joined.length; i++)
      if (joined[i] - joined[i - 1] > usual && (isNew(i) || isNew(i - 1))) breaks.push(i)
    this.names.forEach((name, n) => {
      const column = join(this.values[name].subarray(drop), values.subarray(n * times.length, (n + 1) * times.length))
      this.values[name] = insert(sorted(column), breaks, () => NaN)
    })
    this.times = insert(joined, breaks, (i) => joined[i - 1] + 1)
  }
  // What to draw of a column: a value that is missing in some of the rows does not cut the line.
  line(name) {
    const values = this.values[name]
    if (!values.some(Number.isNaN)) return values
    const there = []
    values.forEach((value, i) => { if (!Number.isNaN(value)) there.push(i) })
    const usual = linemon.Points.gap(there.map((i) => this.times[i])), bridged = values.slice()
    for (let n = 1; n < there.length; n++) {
      const from = there[n - 1], to = there[n], span = this.times[to] - this.times[from]
      if (to - from > 1 && span <= usual) for (let i = from + 1; i < to; i++)
        bridged[i] = values[from] + (values[to] - values[from]) * (span ? (this.times[i] - this.times[from]) / span : 0)
    }
    return bridged
  }
  // Several intervals without a row are a gap. The usual interval is the longer one of the newest points: thinned
  // points come in pairs, with a short step and a long one in turn.
  static gap(times) {
    const steps = []
    for (let i = Math.max(1, times.length - 200); i < times.length; i++)
      if (times[i] > times[i - 1]) steps.push(times[i] - times[i - 1])
    steps.sort((a, b) => a - b)
    return steps.length < 2 ? Infinity : Math.max(1000, 5 * steps[Math.floor(steps.length * 0.75)])
  }
  static join(a, b) {
    const joined = new Float64Array(a.length + b.length)
    joined.set(a)
    joined.set(b, a.length)
    return joined
  }
  static insert(array, places, value) {
    if (!places.length) return array
    const wide = new Float64Array(array.length + places.length)
    let from = 0
    places.forEach((i, n) => {
      wide.set(array.subarray(from, i), from + n)
      wide[i + n] = value(i)
      from = i
    })
    wide.set(array.subarray(from), from + places.length)
    return wide
  }
}
