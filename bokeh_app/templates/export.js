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
  const cell = (value) => /[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value

  // Rows as they are drawn; where they are buckets, the means, and least and greatest beside them.
  function csv() {
    const {about, charts, time} = linemon, {start, end} = time.range, shown = linemon.values.drawn().filter((number) => !charts.hidden.has(number))
    const isThinned = charts.sources.some((points) => points.isThinned)
    const parts = shown.flatMap((number) => {
      const {points, at} = linemon.draw.columnOf(number), name = linemon.values.nameOf(number), mean = [points, points.mean(at)]
      return isThinned ? [[`${name} mean`, ...mean], [`${name} min`, points, points.low(at)], [`${name} max`, points, points.high(at)]] : [[name, ...mean]]
    })
    const rows = new Map()
    parts.forEach(([, points, values], n) => {
      for (let i = points.before(start); i < points.length && points.times[i] <= end; i++) {
        const at = points.times[i]
        if (!rows.has(at)) rows.set(at, Array(parts.length).fill(""))
        rows.get(at)[n] = Number.isNaN(values[i]) ? "" : String(values[i])
      }
    })
    const lines = [["time", ...parts.map(([name]) => cell(name))].join(",")]
    for (const at of [...rows.keys()].sort((a, b) => a - b)) lines.push([new Date(at).toISOString(), ...rows.get(at)].join(","))
    save(fileName("csv"), lines.join("\n") + "\n", "text/csv")
    return about.title
  }

  // All charts on one sheet, with titles and legends.
  function png() {
    const scale = devicePixelRatio || 1, gap = 12, head = 44, foot = 22
    const plots = linemon.about.panels.map((panel, number) => ({panel, number, canvas: linemon.drawing(`chart${number}`).export("png").canvas}))
    const width = Math.max(...plots.map(({canvas}) => canvas.width / scale)), height = Math.max(...plots.map(({canvas}) => canvas.height / scale))
    const across = Math.min(plots.length, Math.max(1, Math.round(Math.sqrt(plots.length))))
    const sheet = document.createElement("canvas"), draw = sheet.getContext("2d")
    const down = Math.ceil(plots.length / across), cellHeight = height + head + foot
    sheet.width = (across * (width + gap) + gap) * scale
    sheet.height = (down * (cellHeight + gap) + gap + 34) * scale
    draw.scale(scale, scale)
    draw.fillStyle = colour("bg")
    draw.fillRect(0, 0, sheet.width, sheet.height)
    const write = (words, x, y, font, color) => { draw.font = font; draw.fillStyle = color; draw.fillText(words, x, y) }
    const {start, end} = linemon.time.range, from = new Date(start).toLocaleString(), to = new Date(end).toLocaleString()
    write(`${linemon.about.title}   ${from} – ${to}, ${linemon.zone()}`, gap, 24, "600 14px sans-serif", colour("fg"))
    plots.forEach(({panel, canvas}, i) => {
      const x = gap + (i % across) * (width + gap), y = 34 + gap + Math.floor(i / across) * (cellHeight + gap)
      draw.fillStyle = colour("card")
      draw.fillRect(x, y, width, cellHeight)
      write(`${panel.title}  ${panel.unit}`, x + 10, y + 20, "600 12px sans-serif", colour("fg"))
      draw.drawImage(canvas, x, y + 28, canvas.width / scale, canvas.height / scale)
      let at = x + 10
      panel.lines.forEach((line, n) => {
        if (linemon.charts.hidden.has(line.column) || at > x + width - 40) return
        draw.fillStyle = colour(`line-${n % 8}`)
        draw.fillRect(at, y + cellHeight - 12, 9, 3)
        write(line.label, at + 13, y + cellHeight - 7, "11px sans-serif", colour("fg"))
        at += 25 + draw.measureText(line.label).width
      })
    })
    sheet.toBlob((blob) => save(fileName("png"), blob, "image/png"))
  }
  // The values under the pointer, in the page that needs no server: the text of this function goes into it.
  function readOut(charts) {
    const tip = document.getElementById("tip"), cell = (row, content) => row.insertCell().append(content)
    const nearest = (times, x) => times.reduce((best, time, i) => Math.abs(time - x) < Math.abs(times[best] - x) ? i : best, 0)
    for (const {id, place, unit, lines} of charts) {
      const plot = Bokeh.documents[0].get_model_by_id(id), box = document.getElementById(place)
      plot.on_event("mouseleave", () => { tip.hidden = true })
      plot.on_event("mousemove", ({x, sx, sy}) => {
        const table = document.createElement("table"), when = new Date(x), {left, top} = box.getBoundingClientRect()
        table.createCaption().textContent = `${linemon.date(when)} ${linemon.seconds(when)}`
        for (const {label, color, gap, times, values} of lines) {
          const i = nearest(times, x), row = table.insertRow(), swatch = document.createElement("i")
          swatch.style.setProperty("--color", color)
          cell(row, swatch)
          cell(row, label)
          cell(row, linemon.format(Math.abs(times[i] - x) <= gap ? values[i] : NaN, unit))
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
      const {points, at} = linemon.draw.columnOf(column), gap = Math.min(linemon.draw.gaps(points, at), Number.MAX_VALUE)
      const values = Array.from(points.mean(at), (value) => Number.isNaN(value) ? null : +value.toPrecision(6))
      return {column, label, color: colour(`line-${i % 8}`), gap, times: [...points.times], values}
    })
    return {id: model(`chart${number}`).id, place: `plot${number}`, unit, lines: shown.filter(({column}) => !linemon.charts.hidden.has(column))}
  }
  // This page as it stands, with Bokeh in it: the charts can still be zoomed and read.
  async function html() {
    const scripts = await Promise.all(all("script[src]").map(async ({src}) => (await fetch(src)).text()))
    linemon.values.table()
    const doc = Bokeh.documents[0], copy = document.documentElement.cloneNode(true), ids = {}
    for (const each of copy.querySelectorAll("script, .live-only, #status, #age, dialog")) each.remove()
    linemon.about.panels.forEach((_, number) => {
      const place = copy.querySelector(`#plot${number}`)
      place.replaceChildren(make("div", {id: `root${number}`, style: "display: contents"}))
      ids[model(`chart${number}`).id] = `root${number}`
    })
    for (const details of copy.querySelectorAll("details")) details.setAttribute("open", "")
    const json = JSON.parse(doc.to_json_string(false))
    json.roots = json.roots.filter(({id}) => id in ids)
    const safe = (code) => code.replaceAll("</script", "<\\/script")
    const read = `(${readOut})(${JSON.stringify(linemon.about.panels.map(underPointer))})`
    const start = `Bokeh.embed.embed_items({d: ${JSON.stringify(json)}}, [{docid: "d", roots: ${JSON.stringify(ids)}, root_ids: ${JSON.stringify(Object.keys(ids))}}]).then(() => ${read})`
    const head = copy.querySelector("head")
    head.append(...scripts.map((code) => make("script", {}, safe(code))), make("script", {}, safe($("format-script").textContent)))
    copy.querySelector("body").append(make("script", {}, safe(start).replaceAll("<!--", "<\\!--")))
    save(fileName("html"), `<!doctype html>\n${copy.outerHTML}`, "text/html")
  }
  function start() {
    const menu = $("export")
    for (const [name, does] of Object.entries({csv, png, html})) $(`export-${name}`).addEventListener("click", () => { menu.open = false; does() })
    addEventListener("click", (event) => { if (!menu.contains(event.target)) menu.open = false })
  }
  return {start}
})()
