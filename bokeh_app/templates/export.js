"use strict"
// What is in sight, as a file: CSV, a picture, or a page that needs no server.
linemon.exports = (() => {
  const {$, all, make, model, colour} = linemon

  function save(name, content, type) {
    const link = make("a", {href: URL.createObjectURL(new Blob([content], {type})), download: name})
    document.body.append(link)
    link.click()
    link.remove()
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000)
  }
  const fileName = (ending) => {
    const when = new Date(linemon.time.range.end).toISOString().slice(0, 19).replaceAll(":", "-")
    return `${linemon.about.title.replace(/[^\w.-]+/g, "_")}_${when}.${ending}`
  }
  // What is in sight, in words.
  function span() {
    const {stamp, zone, when, time: {range}, zero} = linemon
    return zero ? `${stamp(Math.round(range.start))} to ${stamp(Math.round(range.end))}` : `${when.inSight()}, ${zone()}`
  }
  const cell = (value) => /[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value

  // The server is asked for the rows as they are stored: what is drawn is rounded.
  function csv() {
    const {start, end} = linemon.time.range
    model("wishes").save = [start, end, model("wishes").save.length ? model("wishes").save[2] + 1 : 0]
  }
  // Rows; where there are too many, the means of buckets, and least and greatest beside them. Each row is a line, also
  // of several with one stamp; rows of several sources with the same stamp share it.
  function saved(take) {
    const {about, charts} = linemon, parts = [], rows = new Map(), drawn = linemon.values.drawn()
    const from = BigInt(about.zero_ns ?? 0)   // of runs: the rows have seconds after the mark
    let most = 0n
    about.sources.forEach((_, source) => {
      const [length, isThinned] = take(2), kept = take(length)
      const times = new BigInt64Array(kept.buffer, kept.byteOffset, length)
      const first = charts.places.findIndex((place) => place.source == source), shown = []
      for (const kind of isThinned ? ["mean", "min", "max"] : [""]) for (let at = 0; at < about.drawn[source]; at++) {
        const values = take(length), number = first + at
        if (charts.hidden.has(number) || !drawn.includes(number)) continue
        parts.push(`${linemon.values.nameOf(number, true)} ${kind}`.trim())
        shown.push([parts.length - 1, values])
      }
      for (let i = 0, same = 0; i < length && shown.length; i++) {
        same = times[i] == times[i - 1] ? same + 1 : 0
        const time = times[i] - from, key = `${time}/${same}`, fraction = (time % 1000000000n + 1000000000n) % 1000000000n
        if (!rows.has(key)) rows.set(key, {time, cells: []})
        while (most < 9n && fraction % 10n ** (9n - most)) most++
        for (const [n, values] of shown) rows.get(key).cells[n] = Number.isNaN(values[i]) ? "" : String(values[i])
      }
    })
    const digits = Number(most)   // the same in all rows
    const iso = (time) => {
      const fraction = (time % 1000000000n + 1000000000n) % 1000000000n, whole = new Date(Number((time - fraction) / 1000000n)).toISOString().slice(0, 19)
      return digits ? `${whole}.${String(fraction).padStart(9, "0").slice(0, digits)}Z` : `${whole}Z`
    }
    const plain = (time) => `${time < 0n ? "-" : ""}${String(time < 0n ? -time : time).padStart(10, "0").replace(/(?=.{9}$)/, ".").slice(0, digits ? digits - 9 || undefined : -10)}`
    const lines = [[from ? "seconds" : "time", ...parts.map(cell)].join(",")]
    const inOrder = [...rows.values()].sort((a, b) => a.time < b.time ? -1 : +(a.time > b.time))
    for (const {time, cells} of inOrder) lines.push([from ? plain(time) : iso(time), ...parts.map((_, n) => cells[n] ?? "")].join(","))
    save(fileName("csv"), lines.join("\n") + "\n", "text/csv")
  }

  // All charts on one sheet, with titles and legends.
  async function png() {
    await linemon.figures.made
    const scale = devicePixelRatio || 1, gap = 12, head = 44, row = 16
    const inSight = [...linemon.about.panels.entries()].filter(([number]) => $(`plot${number}`).clientWidth)
    const plots = inSight.map(([number, panel]) => ({panel, number, canvas: linemon.drawing(`chart${number}`).export("png").canvas}))
    if ($("shape")) plots.unshift({panel: {title: linemon.about.title, unit: "", lines: []}, canvas: linemon.drawing("shape").export("png").canvas})
    const width = Math.max(...plots.map(({canvas}) => canvas.width / scale)), height = Math.max(...plots.map(({canvas}) => canvas.height / scale))
    const sheet = document.createElement("canvas"), draw = sheet.getContext("2d"), small = "11px sans-serif"
    draw.font = small
    for (const plot of plots) plot.legend = legend(plot, width - 20, (words) => draw.measureText(words).width)
    const foot = 6 + row * Math.max(1, ...plots.map(({legend}) => 1 + (legend.at(-1)?.y ?? 0)))
    const across = Math.min(plots.length, Math.max(1, Math.round(Math.sqrt(plots.length))))
    const down = Math.ceil(plots.length / across), cellHeight = height + head + foot
    sheet.width = (across * (width + gap) + gap) * scale
    sheet.height = (down * (cellHeight + gap) + gap + 34) * scale
    draw.scale(scale, scale)
    draw.fillStyle = colour("bg")
    draw.fillRect(0, 0, sheet.width, sheet.height)
    const write = (words, x, y, font, color) => { draw.font = font; draw.fillStyle = color; draw.fillText(words, x, y) }
    write(`${linemon.about.title}   ${span()}`, gap, 24, "600 14px sans-serif", colour("fg"))
    plots.forEach(({panel, number, canvas, legend}, i) => {
      const x = gap + (i % across) * (width + gap), y = 34 + gap + Math.floor(i / across) * (cellHeight + gap)
      draw.fillStyle = colour("card")
      draw.fillRect(x, y, width, cellHeight)
      const heading = [panel.title, linemon.reading.unitOf(panel.unit, number), panel.kind == "mirrored" ? "out is below zero" : ""]
      write(heading.filter(Boolean).join("  "), x + 10, y + 20, "600 12px sans-serif", colour("fg"))
      draw.drawImage(canvas, x, y + 28, canvas.width / scale, canvas.height / scale)
      for (const {words, color, ...at} of legend) {
        const left = x + 10 + at.x, base = y + cellHeight - foot + row * (at.y + 1) - 5
        draw.fillStyle = colour(color)
        draw.fillRect(left, base - 5, 9, 3)
        write(words, left + 13, base, small, colour("fg"))
      }
    })
    sheet.toBlob((blob) => save(fileName("png"), blob, "image/png"))
  }
  // The lines of a chart with their values as its legend has them: where in it, and in which of its rows.
  function legend({panel, number}, width, measure) {
    let x = 0, y = 0
    return [...panel.lines.entries()].filter(([, {column}]) => !linemon.charts.hidden.has(column)).map(([i, {column, label}]) => {
      const words = `${label} ${document.querySelector(`#card${number} .line[data-column="${column}"] output`).textContent}`, needs = 25 + measure(words)
      if (x && x + needs > width) { x = 0; y += 1 }
      const place = {words, color: `line-${i % 8}`, x, y}
      x += needs
      return place
    })
  }
  // The values under the pointer, in the page that needs no server: the text of this function goes into it.
  function readOut(charts) {
    const tip = document.getElementById("tip"), cell = (row, content) => row.insertCell().append(content)
    const nearest = (times, x) => times.reduce((best, time, i) => Math.abs(time - x) < Math.abs(times[best] - x) ? i : best, 0)
    for (const {id, place, unit, lines} of charts) {
      const plot = Bokeh.documents[0].get_model_by_id(id), box = document.getElementById(place)
      plot.on_event("mouseleave", () => { tip.hidden = true })
      plot.on_event("mousemove", ({x, sx, sy}) => {
        const table = document.createElement("table"), {left, top} = box.getBoundingClientRect()
        table.createCaption().textContent = linemon.stamp(Math.round(x))
        for (const {label, color, gap, every, times, values} of lines) {
          const i = nearest(times, x), row = table.insertRow(), swatch = document.createElement("i")
          swatch.style.setProperty("--color", color)
          cell(row, swatch)
          cell(row, label)
          cell(row, linemon.format(Math.abs(times[i] - x) <= gap ? values[i] : NaN, unit, 4, every))
        }
        tip.replaceChildren(table)
        tip.hidden = false
        tip.style.left = `${Math.max(4, Math.min(left + sx + 14, innerWidth - tip.offsetWidth - 8))}px`
        tip.style.top = `${Math.max(4, Math.min(top + sy - 10, innerHeight - tip.offsetHeight - 4))}px`
      })
    }
  }
  function underPointer({lines, unit}, number) {
    const shown = lines.map(({column, label}, i) => {
      const {points, at} = linemon.draw.columnOf(column, number), gap = Math.min(linemon.draw.gaps(points, at)(points.times[0]), Number.MAX_VALUE)
      const values = Array.from(points.mean(at), (value) => Number.isNaN(value) ? null : +value.toPrecision(10))
      return {column, label, color: colour(`line-${i % 8}`), gap, every: linemon.values.stepOf(column), times: [...points.times], values}
    })
    return {id: model(`chart${number}`).id, place: `plot${number}`, unit: linemon.reading.unitOf(unit, number), lines: shown.filter(({column}) => !linemon.charts.hidden.has(column))}
  }
  // This page as it stands, with Bokeh in it: the charts can still be zoomed and read.
  async function html() {
    const scripts = await Promise.all(all("script[src]").map(async ({src}) => (await fetch(src)).text()))
    linemon.values.table()
    const doc = model("chart0").document, copy = document.documentElement.cloneNode(true), ids = {}
    for (const each of copy.querySelectorAll("script, .live-only, #status, #age, dialog")) each.remove()
    for (const name of [...linemon.about.panels.map((_, number) => `chart${number}`), ...$("shape") ? ["shape"] : []]) {   // in the order of the document's roots
      copy.querySelector(`#figure-${name}`).parentElement.replaceChildren(make("div", {id: `root-${name}`, style: "display: contents"}))
      ids[model(name).id] = `root-${name}`
    }
    for (const details of copy.querySelectorAll("details")) details.setAttribute("open", "")
    for (const each of copy.querySelectorAll(".scroll")) each.style.maxHeight = "none"   // a file has no window to save room in
    copy.querySelector("h1").after(make("span", {class: "muted"}, span()))
    const json = JSON.parse(doc.to_json_string(false))
    json.roots = json.roots.filter(({id}) => id in ids)
    // A browser ends a script at `</script`, whatever its case, and reads `<!--` as a comment: no text may hold a `<`.
    const safe = (code) => code.replace(/<(?=\/script|!--)/gi, "\\x3c"), text = (value) => JSON.stringify(value).replaceAll("<", "\\u003c")
    const read = `(${readOut})(${text(linemon.about.panels.map(underPointer))})`
    const start = `linemon.zero = ${text(linemon.zero ?? null)}; Bokeh.embed.embed_items({d: ${text(json)}}, [{docid: "d", roots: ${text(ids)}, root_ids: ${text(Object.keys(ids))}}]).then(() => ${read})`
    const head = copy.querySelector("head")
    head.append(...scripts.map((code) => make("script", {}, safe(code))), make("script", {}, safe($("format-script").textContent)))
    copy.querySelector("body").append(make("script", {}, start))
    save(fileName("html"), `<!doctype html>\n${copy.outerHTML}`, "text/html")
  }
  function start() {
    const answers = model("answers")
    answers.properties.saved.change.connect(() => saved(linemon.unpack(answers.saved).take))
    for (const [name, does] of Object.entries({csv, png, html})) $(`export-${name}`).addEventListener("click", () => { $("export").open = false; does() })
    addEventListener("click", (event) => { for (const menu of all(".menu")) if (!menu.contains(event.target)) menu.open = false })
  }
  return {start}
})()
