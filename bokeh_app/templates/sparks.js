"use strict"
// Sparklines: one figure in pixels lies over a part of the page and draws each line where its element is.
linemon.sparks = (figure, holder, wanted) => {
  const {model, fill} = linemon
  const box = holder.getBoundingClientRect(), plot = model(figure)
  if (box.width == 0 || box.height == 0) return
  plot.x_range.setv({start: 0, end: box.width})
  plot.y_range.setv({start: box.height, end: 0})
  const lines = {xs: [], ys: [], color: []}, areas = {xs: [], ys: [], color: []}
  for (const {element, times, values, start, end, gap, color, isPercent} of wanted) {
    const rect = element.getBoundingClientRect()
    if (rect.width == 0) continue
    const left = rect.left - box.left, bottom = rect.bottom - box.top - 1
    let low = Infinity, high = -Infinity
    for (const value of values) {
      if (!Number.isFinite(value)) continue   // missing, or beyond what can be drawn
      if (value < low) low = value
      if (value > high) high = value
    }
    if (!(low <= high)) continue
    if (isPercent && low >= 0 && high <= 100) { low = 0; high = 100 }
    else if (low >= 0 && low <= 0.6 * high) low = 0
    if (low == high) { low -= Math.abs(low) || 1; high += Math.abs(high) || 1 }
    let xs = [], ys = [], last = NaN
    const close = () => {
      if (xs.length > 1) {
        lines.xs.push(xs); lines.ys.push(ys); lines.color.push(color)
        areas.xs.push([xs[0], ...xs, xs.at(-1)]); areas.ys.push([bottom, ...ys, bottom]); areas.color.push(color)
      }
      xs = []; ys = []
    }
    for (let i = 0; i < values.length; i++) {
      if (!Number.isFinite(values[i]) || times[i] < start || times[i] > end) continue
      if (times[i] - last > gap(last)) close()
      last = times[i]
      xs.push(left + (times[i] - start) / (end - start) * rect.width)
      ys.push(bottom - (values[i] - low) / (high - low) * (rect.height - 3))
    }
    close()
  }
  fill(`areas of ${figure}`, areas)
  fill(`lines of ${figure}`, lines)
}
