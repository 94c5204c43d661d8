"use strict"
// The rows of the overview: sources, groups of them, or rooms x measures. Those in sight are in the document, and a few
// more; what is above and below them is as high as they would be.
linemon.rows = (() => {
  const {$, all, text, make, model, colour, format, age, stamped, now, S} = linemon
  const BEYOND = 12, HEIGHT = 30  // rows to either side that are there already; pixels of a row
  const LAYOUTS = {"": "List", prefix: "By name", grid: "Grid"}
  let said = {first: 0, count: 0, hosts: 0, rows: [], measures: []}, rows = [], known = new Map()
  let isAsked = false, hasNewSparks = false, isBuilt = false

  const keyOf = (row) => row.name ?? (row.group != null ? `group ${row.group}` : `row ${row.row}`)
  const tail = () => $(said.by == "grid" ? "grid" : "others")
  const here = () => new URLSearchParams(location.search)

  // -- what is in sight

  // The numbers of the first row in sight and of the one after the last: `beyond` more to either side.
  function inSight(beyond) {
    const at = (y) => {
      const index = (table, count) => Math.min(count, Math.max(0, Math.floor((y - table.getBoundingClientRect().top - table.tHead.offsetHeight) / HEIGHT)))
      const isBelow = said.hosts == 0 || (said.count > said.hosts && y >= tail().getBoundingClientRect().top)
      return isBelow ? said.hosts + index(tail(), said.count - said.hosts) : index($("hosts"), said.hosts)
    }
    return [Math.max(0, at(0) - beyond), Math.min(said.count, at(innerHeight) + 1 + beyond)]
  }
  function look() {
    if (isAsked) return
    const [from, to] = inSight(2), {first} = said
    if (from >= first && to <= first + rows.length) return
    const [start, end] = inSight(BEYOND), {place} = model("wishes")
    if (place[0] == start && place[1] == end - start) return
    isAsked = true
    model("wishes").place = [start, end - start]
  }

  // -- the document

  function build() {
    said = JSON.parse(model("answers").names)
    const had = known
    known = new Map()
    rows = said.rows.map((row, i) => {
      const isHost = said.first + i < said.hosts, key = `${isHost} ${keyOf(row)}`   // hosts and others may begin alike
      const about = row.group ?? JSON.stringify([row, said.measures]), old = had.get(key)
      const found = old?.about == about ? old : {...built(row, isHost), about}
      found.fold?.setAttribute("aria-expanded", row.open)
      found.sparks = old?.sparks
      found.of = row.of           // of a group
      known.set(key, found)
      return found
    })
    head()
    for (const [table, isMine, count, before] of [
      [$("hosts"), (i) => i < said.hosts, said.hosts, 0],
      [tail(), (i) => i >= said.hosts, said.count - said.hosts, said.hosts],
    ]) {
      const mine = rows.filter((_, i) => isMine(said.first + i)), [above, body, below] = table.tBodies
      table.closest("section").hidden = count == 0
      table.setAttribute("aria-rowcount", count + 1)
      const start = Math.min(count, Math.max(0, said.first - before))
      space(above, start)
      space(below, count - start - mine.length)
      put(body, mine.map(({element}) => element))
      mine.forEach(({element}, i) => element.setAttribute("aria-rowindex", start + i + 2))
    }
    $(said.by == "grid" ? "others" : "grid").closest("section").hidden = true
    $("empty").hidden = !said.is_empty
    $("toolbar").hidden = said.all == 0
    $("none").hidden = said.all == 0 || said.count > 0
    text($("none"), said.by == "grid" && said.shown > 0 ? "No two sources have a measure in common: see the list." : "No source and no column has that in its name.")
    text($("count"), said.all == 1 ? "1 source" : said.shown < said.all - said.hidden ? `${said.shown} of ${said.all} sources` : `${said.all} sources`)
    $("hidden").hidden = said.hidden == 0
    text($("hidden"), `Show ${said.hidden} hidden`)
  }
  function space(body, count) {
    body.replaceChildren(...count > 0 ? [make("tr", {}, make("td", {style: `height: ${count * HEIGHT}px`}))] : [])
  }
  // Have these in a table in this order; what stays in its place keeps the focus.
  function put(body, elements) {
    const wanted = new Set(elements), active = document.activeElement
    for (const element of [...body.children]) if (!wanted.has(element)) element.remove()
    elements.forEach((element, i) => { if (body.children[i] != element) body.insertBefore(element, body.children[i] ?? null) })
    if (active != document.activeElement && document.contains(active)) active.focus({preventScroll: true})
  }
  // The heads of the grid: each leads to its measure of all rows.
  function head() {
    if (said.by != "grid") return
    const key = JSON.stringify(said.measures), row = $("grid").tHead.rows[0]
    if (row.dataset.key == key) return
    row.dataset.key = key
    $("grid").style.minWidth = `${(innerWidth > 760 ? 260 : 195) + 82 * said.measures.length}px`
    row.replaceChildren(make("th", {scope: "col"}, "Name"), ...said.measures.map(([name, unit, called]) =>
      make("th", {scope: "col", title: name}, linemon.measures.link(name, called), ...unit ? [` ${unit}`] : [])), make("th", {scope: "col"}, "Newest row"))
  }
  const built = (row, isHost) => row.group != null ? group(row, isHost) : row.cells ? gridRow(row) : line(row)
  function line(row) {
    const link = make("a", {href: linemon.search.sourceAddress(row.name)}, row.name)
    const values = [0, 1, 2].map((i) => {
      const cell = make("div", {class: "cell"}), value = make("span", {class: "value"}), label = make("span", {class: "label muted"})
      if (i < row.labels.length && !row.is_host) label.textContent = row.labels[i]
      cell.append(label, value, make("span", {class: "spark"}))
      return {cell, value, spark: cell.lastChild}
    })
    const seen = make("td", {class: "seen"}), dot = make("span", {class: "dot"})
    const width = row.width > 3 && !row.is_host ? [" ", make("span", {class: "muted"}, `${row.width} columns`)] : []   // of which three are here
    const head = make("th", {scope: "row"}, linemon.measures.box(row), dot, ...row.kept.pinned ? [make("span", {class: "pin", title: "pinned", role: "img", "aria-label": "pinned"}, "★")] : [], link, ...width)
    const element = make("tr", row.kept.hidden ? {class: "hidden"} : {}, head, ...values.map(({cell}) => make("td", {class: "measure"}, cell)), seen)
    element.addEventListener("click", () => link.click())
    link.addEventListener("click", (event) => event.stopPropagation())
    if (linemon.verbs.may) head.append(linemon.verbs.button(row.name, row.kept))
    return {...row, element, dot, values, seen}
  }
  function group(row, isHost) {
    const fold = make("button", {type: "button", class: "fold-group"}, `${row.group}*`)
    const words = make("span", {class: "muted"}), dot = make("span", {class: "dot"})
    const element = make("tr", {class: "group-row"}, make("th", {scope: "rowgroup", colspan: innerWidth > 760 ? 5 : isHost ? 4 : 3}, fold, " ", dot, words))
    element.addEventListener("click", () => open(row.group, fold.getAttribute("aria-expanded") != "true"))
    return {...row, element, dot, words, fold}
  }
  function gridRow(row) {
    const values = row.cells.map((cell) => cell ? make("a", {href: linemon.search.plotAddress([linemon.search.term(...cell)])}) : make("span"))
    const seen = make("td", {class: "seen"}), find = make("a", {href: `?${new URLSearchParams({find: row.row})}`}, row.row)
    const element = make("tr", {}, make("th", {scope: "row"}, find), ...values.map((value) => make("td", {}, value)), seen)
    return {...row, element, values, seen, units: said.measures.map(([, unit]) => unit)}
  }

  // -- the numbers

  let numbers = new Float64Array(0), width = 6
  function take(found, each, rest) {
    const sparks = rest()
    numbers = found.slice()
    width = each
    isAsked = false
    if (sparks) rows.forEach((row, i) => { row.sparks = row.labels && sparks.subarray(3 * 60 * i, 3 * 60 * (i + 1)) })
    hasNewSparks ||= sparks != null
  }
  function draw() {
    show()
    if (hasNewSparks) drawSparks()
    hasNewSparks = false
    if (!isBuilt && said.count) scrollBack()
    isBuilt ||= said.count > 0
    look()
  }
  function show() {
    const time = now()
    rows.forEach((row, i) => {
      const [came, newest, patience, ...values] = numbers.subarray(width * i, width * (i + 1))
      if (row.group != null) return showGroup(row, came, newest)
      if (row.cells) {
        row.values.forEach((place, c) => {
          text(place, row.cells[c] ? format(values[c], row.units[c], 4) : "")
          linemon.limits.mark(place, row.cells[c] && linemon.alarms.levelOf(...row.cells[c]))
        })
        return text(row.seen, came >= 0 ? `${age(came)} ago` : "no rows")
      }
      const isSilent = !(time - came < patience) || stamped(newest) != ""
      row.values.forEach(({value}, c) => {
        text(value, c < row.units.length ? format(values[c], row.units[c], 5) : "")
        linemon.limits.mark(value, row.columns[c] && linemon.alarms.levelOf(row.name, row.columns[c]))
      })
      text(row.seen, !(came >= 0) ? (newest >= 0 ? "unknown" : "no rows") : stamped(newest).slice(0, 12) || (isSilent ? `no data for ${age(came)}` : `${age(came)} ago`))
      row.element.classList.toggle("silent", isSilent)
      mark(row, linemon.alarms.levelOf(row.name))
      row.seen.title = came >= 0 ? `newest row: ${new Date(came).toLocaleString()}` : ""
    })
  }
  function showGroup(row, silent, level) {
    mark(row, level)
    text(row.words, `${row.of} sources${silent ? `, ${silent} without data` : ""}`)
  }
  function mark({dot}, number) {
    const level = ["", "warning", "critical"][number] ?? ""
    if ((dot.dataset.level ?? "") == level) return
    dot.dataset.level = level
    dot.title = level && `in trouble: ${level}`
    text(dot, level && `${level}: in trouble`)
  }
  function drawSparks() {
    const points = Float64Array.from({length: 60}, (_, i) => i), place = document.querySelector("#rows .over")
    const first = rows.find(({values}) => values), top = first ? first.element.getBoundingClientRect().top - $("rows").getBoundingClientRect().top : 0
    place.style.top = `${Math.max(0, top - HEIGHT)}px`   // it lies over what is in sight: no canvas is as high as ten thousand rows
    place.style.height = `${Math.min($("rows").clientHeight, innerHeight + 2 * (BEYOND + 3) * HEIGHT)}px`
    linemon.sparks("sparks", place, rows.filter(({sparks}) => sparks).flatMap((row) => row.labels.map((_, c) => ({
      element: row.values[c].spark, times: points, values: row.sparks.subarray(c * 60, (c + 1) * 60), start: 0, end: 59, gap: () => 3,
      color: linemon.limits.tint(row.columns[c] && linemon.alarms.levelOf(row.name, row.columns[c]), colour(`line-${c}`)), isPercent: row.units[c] == "%",
    }))))
  }

  // -- what is asked for

  function sort(by) {
    if (!all("[data-sort]").some(({dataset}) => dataset.sort == by)) return
    for (const each of all("[data-sort]")) each.closest("th").setAttribute("aria-sort", each.dataset.sort != by ? "none" : by == "name" ? "ascending" : "descending")
    model("wishes").sort = by
  }
  function lay(by) {
    if (!(by in LAYOUTS)) return
    for (const button of all("[data-by]")) button.setAttribute("aria-pressed", button.dataset.by == by)
    model("wishes").by = by
  }
  function open(prefix, isOn) {
    const found = new Set(model("wishes").open)
    if (isOn) found.add(prefix)
    else found.delete(prefix)
    model("wishes").open = [...found]
    linemon.search.note("open", [...found].map(encodeURIComponent).join())
  }
  // Rows come after the browser has looked for the place to go back to.
  function scrollBack() {
    const [{type}] = performance.getEntriesByType("navigation")
    if (type != "navigate") scrollTo(0, +sessionStorage.getItem("linemon.scroll"))
  }
  function start() {
    const wishes = model("wishes"), answers = model("answers")
    answers.properties.names.change.connect(build)
    for (const button of all("[data-sort]")) button.addEventListener("click", () => {
      sort(button.dataset.sort)
      linemon.search.note("sort", button.dataset.sort == "name" ? "" : button.dataset.sort)
    })
    for (const button of all("[data-by]")) button.addEventListener("click", () => {
      lay(button.dataset.by)
      linemon.search.note("by", button.dataset.by)
    })
    const showHidden = (isOn) => {
      $("hidden").setAttribute("aria-pressed", isOn)
      wishes.has_hidden = isOn
    }
    $("hidden").addEventListener("click", () => {
      const isOn = $("hidden").getAttribute("aria-pressed") != "true"
      showHidden(isOn)
      linemon.search.note("hidden", isOn ? 1 : "")
    })
    if (here().has("hidden")) showHidden(true)
    sort(here().get("sort") ?? "name")
    lay(here().get("by") ?? "")
    wishes.open = (here().get("open") ?? "").split(",").filter(Boolean).map(decodeURIComponent)
    wishes.place = [0, Math.ceil(innerHeight / HEIGHT) + BEYOND]
    addEventListener("scroll", look, {passive: true})
    addEventListener("pagehide", () => sessionStorage.setItem("linemon.scroll", scrollY))
    new ResizeObserver(() => {
      document.documentElement.style.setProperty("--head", `${document.querySelector("header").offsetHeight}px`)
      drawSparks()
      look()
    }).observe($("rows"))
    setInterval(show, S)
  }
  return {start, take, draw}
})()
