"use strict"
// The points of one source in time order: rows, or buckets of rows with least, mean and greatest. Arrays grow by
// doubling; rows that come later than newer ones are put where they belong.
linemon.Points = class {
  constructor(width) {
    this.width = width
    this.version = 0                // another one after each change
    this.clear(0)
  }
  clear(bucket, room = 256) {
    this.version++
    this.bucket = bucket            // ms; 0 = rows
    this.longer = []                // of what only the history has: until when, and how long the buckets are (ms)
    this.length = 0
    this.isThinned = false
    this.hasHoles = Array(this.width).fill(false)
    this.isBeyond = Array(this.width).fill(false)   // whether there were values that cannot be drawn
    this.arrays = Array.from({length: 1 + 4 * this.width}, () => new Float64Array(room))
  }
  // (length,) views, good until the next change
  get times() { return this.arrays[0].subarray(0, this.length) }
  mean(column) { return this.arrays[1 + column].subarray(0, this.length) }
  low(column) { return this.arrays[1 + this.width + column].subarray(0, this.length) }
  high(column) { return this.arrays[1 + 2 * this.width + column].subarray(0, this.length) }
  count(column) { return this.arrays[1 + 3 * this.width + column].subarray(0, this.length) }
  get newest() { return this.length ? this.arrays[0][this.length - 1] : NaN }

  // How many points are earlier.
  before(time) {
    let low = 0, high = this.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.arrays[0][middle] < time) low = middle + 1
      else high = middle
    }
    return low
  }
  // Forget what is earlier, but for the one point from which the line comes in.
  trim(time) {
    const drop = this.before(time) - 1
    if (drop < 64 && drop < this.length / 4) return
    this.version++
    for (const array of this.arrays) array.copyWithin(0, drop, this.length)
    this.length -= drop
  }
  // Take a block: {bucket, longer, times, isThinned, isBeyond, mean, low, high, count}, each of the last four an array per column.
  add(block) {
    const {times, mean, low, high, count} = block, n = times.length, parts = [mean, low, high, count]
    if (n == 0) return
    this.version++
    this.isThinned ||= block.isThinned
    if (block.longer.length) this.longer = block.longer
    for (let c = 0; c < this.width; c++) {
      this.hasHoles[c] ||= mean[c].some(Number.isNaN)
      this.isBeyond[c] ||= block.isBeyond[c]
    }
    this.#makeRoom(n)
    for (let i = 0; i < n; i++) {
      const [at, isSame] = this.#place(times[i])
      if (isSame) this.#merge(at, block, i)
      else {
        if (at < this.length) for (const array of this.arrays) array.copyWithin(at + 1, at, this.length)
        this.length++
        this.arrays[0][at] = times[i]
        for (let c = 0; c < this.width; c++)
          for (let part = 0; part < 4; part++) this.arrays[1 + part * this.width + c][at] = parts[part][c][i]
      }
    }
  }
  // Where a time belongs, and whether the bucket there is its own.
  #place(time) {
    const {bucket, length} = this, times = this.arrays[0]
    const at = length && time < times[length - 1] ? this.before(time) : length
    if (bucket > 0) {
      const own = Math.floor(time / bucket)
      for (const near of [at - 1, at])
        if (near >= 0 && near < length && Math.floor(times[near] / bucket) == own) return [near, true]
    }
    return [at, false]
  }
  #merge(at, {mean, low, high, count}, i) {
    this.isThinned = true
    for (let c = 0; c < this.width; c++) {
      const value = mean[c][i], more = count[c][i]
      if (Number.isNaN(value)) continue
      const means = this.mean(c), lows = this.low(c), highs = this.high(c), counts = this.count(c)
      const isFirst = Number.isNaN(means[at])
      means[at] = isFirst ? value : (means[at] * counts[at] + value * more) / (counts[at] + more)
      lows[at] = isFirst ? low[c][i] : Math.min(lows[at], low[c][i])
      highs[at] = isFirst ? high[c][i] : Math.max(highs[at], high[c][i])
      counts[at] += more
    }
  }
  #makeRoom(more) {
    const room = this.arrays[0].length
    if (this.length + more <= room) return
    const size = Math.max(2 * room, this.length + more)
    this.arrays = this.arrays.map((array) => {
      const wide = new Float64Array(size)
      wide.set(array.subarray(0, this.length))
      return wide
    })
  }
  // How long (ms) a column may have no value before that is a gap: several of its usual intervals.
  gap(column) {
    const times = this.arrays[0], values = this.arrays[1 + column], isWhole = !this.hasHoles[column]
    const steps = []
    let last = NaN
    for (let i = Math.max(0, this.length - 200); i < this.length; i++) {
      if (!isWhole && Number.isNaN(values[i])) continue
      if (times[i] > last) steps.push(times[i] - last)
      last = times[i]
    }
    if (steps.length < 2) return Infinity
    steps.sort((a, b) => a - b)
    const usual = steps[Math.floor(steps.length * 0.75)]
    return this.bucket > 0 ? 2.5 * Math.max(usual, this.bucket) : Math.max(1000, 5 * usual)
  }
  // How long (ms) the bucket is that begins at a time, 0 = a row.
  lengthAt(time) { return this.longer.find(([until]) => time < until)?.[1] ?? this.bucket }
  // So much as a function of the time before it.
  gapAt(usual) {
    const {longer} = this
    return longer.length ? (time) => Math.max(usual, 2.5 * this.lengthAt(time)) : () => usual
  }
  // A line through the values that are there; where there are none for longer than `gap(time)`, a NaN cuts it.
  static trace(times, values, gap) {
    const xs = [], ys = []
    let last = NaN
    for (let i = 0; i < times.length; i++) {
      const value = values[i]
      if (Number.isNaN(value)) continue
      if (times[i] - last > gap(last)) { xs.push(last + 1); ys.push(NaN) }
      xs.push(last = times[i])
      ys.push(value)
    }
    return {xs, ys}
  }
  // What holds each value until the next: the corners of `arrays`, which are missing together.
  static steps(times, arrays, gap) {
    const corners = [], found = arrays.map(() => []), put = (time, i) => { corners.push(time); arrays.forEach((values, k) => found[k].push(values[i])) }
    let last = -1
    for (let i = 0; i < times.length; i++) {
      if (Number.isNaN(arrays[0][i])) continue
      if (last >= 0 && times[i] - times[last] <= gap(times[last])) put(times[i], last)
      put(times[i], i)
      last = i
    }
    return [corners, ...found]
  }
  // The points of a line with a gap on either side: no stroke would show them.
  static lonely({xs, ys}) {
    const found = []
    for (let i = 0; i < xs.length; i++)
      if (!Number.isNaN(ys[i]) && !(ys[i - 1] === ys[i - 1] && i > 0) && !(ys[i + 1] === ys[i + 1] && i + 1 < ys.length)) found.push(i)
    return found
  }
  // The area between two lines (`under` may be one number), cut where they are.
  static area(times, over, under, gap) {
    const xs = [], ys = [], isLevel = typeof under == "number"
    let from = [], last = NaN
    const close = () => {
      if (from.length > 1) {
        if (xs.length) { xs.push(NaN); ys.push(NaN) }
        for (const i of from) { xs.push(times[i]); ys.push(over[i]) }
        for (const i of from.reverse()) { xs.push(times[i]); ys.push(isLevel ? under : under[i]) }
      }
      from = []
    }
    for (let i = 0; i < times.length; i++) {
      if (Number.isNaN(over[i]) || (!isLevel && Number.isNaN(under[i]))) continue
      if (times[i] - last > gap(last)) close()
      from.push(i)
      last = times[i]
    }
    close()
    return {xs, ys}
  }
}
