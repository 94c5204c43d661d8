"use strict"
// From where on a value is a warning, or critical: by limits that people set (`limits.py`), and by alarms. A level is 0, 1
// or 2, and never a colour alone; the favicon and the title say the worst one of all sources.
linemon.limits = (() => {
  const {$, all, text, make, model, colour, format, ask} = linemon
  const SIGNS = ["", "▲", "◆"], COLOURS = ["", "warn", "bad"], ICONS = ["ok", "warn", "crit"]
  const LISTED = 5                // sources in trouble that the overview names
  const NEAR = 0.12, WIDTH = 70, TALL = 13   // a share of a chart's height; pixels of a limit's text
  const BADGES = {
    ok: "", warn: "<path d='M10.5 5l5.5 11H5z' fill='#e6a000' stroke='#fff'/>", crit: "<path d='M10 4l6 6-6 6-6-6z' fill='#d92d20' stroke='#fff'/>",
    lost: "<path d='M3 3l10 10M13 3L3 13' stroke='#d92d20' stroke-width='2'/>",
  }
  let title = "", isAway = false, kept = {}, column = NaN

  const nameOf = (number) => { const {source, name} = linemon.about.columns[number]; return [linemon.about.sources[source], name] }
  const limitsOf = (number) => { const [source, name] = nameOf(number); return linemon.alarms.said.limits?.[source]?.[name] ?? [] }
  function byValue([warn, crit], value) {
    const isLow = warn != null && crit != null && crit < warn, isBeyond = (limit) => limit != null && (isLow ? value <= limit : value >= limit)
    return isBeyond(crit) ? 2 : isBeyond(warn) ? 1 : 0
  }
  // The level of a value of a column; of the one of now also what alarms say.
  const level = (number, value, isNow = false) => Math.max(byValue(limitsOf(number), value), isNow ? linemon.alarms.levelOf(...nameOf(number)) : 0)
  const tint = (level, otherwise) => level ? colour(COLOURS[level]) : otherwise
  function mark(element, level) {
    if (level) element.dataset.level = level
    else delete element.dataset.level
  }
  // Add the limits of a chart's columns to what it draws, each once, where its axis reaches them.
  function into(number, lines, texts, range, y, hidden) {
    const {about, alarms, time} = linemon, {start, end} = time.range, drawn = new Set(), places = [], height = $(`plot${number}`).clientHeight - 36
    const put = (line, limit, level) => {
      const at = limit == null ? NaN : y.place(line.role == "below" ? -Math.abs(limit) : limit, line), key = `${at} ${level}`
      if (!(at > range.start && at < range.end) || drawn.has(key)) return
      drawn.add(key)
      lines.xs.push([start, end])
      lines.ys.push([at, at])
      lines.color.push(colour(COLOURS[level]))
      lines.dash.push("dashed")
      texts.xs.push(end)
      texts.ys.push(at)
      texts.text.push(`${SIGNS[level]} ${format(limit, about.columns[line.column].unit, 4)}`)
      texts.color.push(colour(COLOURS[level]))
      texts.align.push("right")
      const share = (at - range.start) / (range.end - range.start), under = share * height, over = height - under
      texts.drop[texts.text.length - 1] = Math.min(-Math.min(TALL / 2, over), under - TALL)   // on its line, and within the chart
      texts.offset.push(-4 - WIDTH * places.filter((other) => Math.abs(other - share) < NEAR).length)
      places.push(share)
    }
    for (const line of about.panels[number].lines) {
      if (hidden.has(line.column) || line.role == "stack") continue
      const [source, name] = nameOf(line.column)
      for (const {limits, ...alarm} of alarms.said.drawn ?? []) {
        if (alarm.source != source || alarm.column != name) continue
        put(line, limits.warning, 1)
        put(line, limits.critical, 2)
      }
      limitsOf(line.column).forEach((limit, i) => put(line, limit, i + 1))
    }
  }

  // -- title, favicon, and who is in trouble

  function tell(state) {
    isAway = ["lost", "refused"].includes(state)
    say()
  }
  function say() {
    const {trouble = 0, worst = 0} = linemon.alarms.said, icon = document.querySelector('link[rel="icon"]'), state = isAway ? "lost" : ICONS[worst]
    title ||= document.title
    document.title = `${isAway ? "(no connection) " : trouble ? `(${trouble}) ` : ""}${title}`
    if (icon.dataset.state == state) return
    icon.dataset.state = state
    const line = `<path d='M1 11l4-6 4 4 6-7' fill='none' stroke='${isAway ? "#8a94a3" : "#2f81d6"}' stroke-width='2.4' stroke-linecap='round' stroke-linejoin='round'/>`
    icon.href = `data:image/svg+xml,${encodeURIComponent(`<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'>${line}${BADGES[state]}</svg>`)}`
  }
  function hear() {
    say()
    const place = $("in-trouble"), {levels, called, trouble, worst} = linemon.alarms.said
    if (!place) return
    const worstOf = (of) => Math.max(...Object.values(of)), found = Object.entries(levels).sort(([, a], [, b]) => worstOf(b) - worstOf(a))
    place.hidden = !trouble
    if (!trouble) return
    const links = found.slice(0, LISTED).map(([source, of]) => {
      const link = make("a", {href: linemon.search.sourceAddress(source)}, source), item = make("span", {}, link)
      mark(link, worstOf(of))
      item.append(make("span", {class: "muted"}, ` ${Object.keys(of).filter(Boolean).slice(0, 3).map((column) => called[source][column]).join(", ")}`))
      return item
    })
    place.replaceChildren(make("b", {"data-level": worst}, `${trouble} in trouble`), ...links, ...trouble > links.length ? [`and ${trouble - links.length} more`] : [])
  }

  // -- what is kept of a column: limits, unit, label

  const FIELDS = ["warn", "crit", "unit", "label"]
  const scope = () => $("limits-of").value
  function show(said) {
    kept = said
    const own = kept[scope()]
    for (const field of FIELDS) $(`limits-${field}`).value = own[field] ?? ""
  }
  async function choose() {
    const number = column = +$("limits-column").value, fields = FIELDS.map((field) => $(`limits-${field}`))
    const [source, name] = nameOf(number), {unit, label} = linemon.about.columns[number]
    for (const field of fields) field.disabled = true   // until it is known what stands there
    const {error, kept} = await ask({do: "column", source, column: name})
    if (number != column) return
    for (const field of fields) field.disabled = false
    text($("limits-error"), error ?? "")
    $("limits-unit").placeholder = unit
    $("limits-label").placeholder = label || name
    const alarms = (linemon.alarms.said.drawn ?? []).filter((each) => each.source == source && each.column == name && (each.limits.warning ?? each.limits.critical) != null)
    text($("limits-alarms"), alarms.length ? "An alarm watches it, too: its limits are drawn, and it says by itself when it fires." : "")
    if (kept) show(kept)
  }
  // As the page calls it, and in brackets as it is called by itself.
  function optionOf(number) {
    const {name, label} = linemon.about.columns[number], called = linemon.values.nameOf(number)
    return label && label != name ? `${called} (${name})` : called
  }
  function open(number) {
    const {about} = linemon, mine = about.panels[number].lines.map(({column}) => column)
    const columns = [...mine, ...[...about.columns.keys()].filter((each) => !mine.includes(each))]
    $("limits-column").replaceChildren(...columns.map((each) => make("option", {value: each}, optionOf(each))))
    $("limits-of").value = "own"
    choose()
    $("limits").showModal()
  }
  async function set(event) {
    event.preventDefault()
    const [source, name] = nameOf(column), now = {}, was = {}, own = kept[scope()], numbers = ["warn", "crit"]
    for (const field of FIELDS) {
      const said = $(`limits-${field}`).value.trim(), value = said == "" ? null : numbers.includes(field) ? +said : said
      if (Number.isNaN(value)) return text($("limits-error"), `${said} is no number`)
      if (value != (own[field] ?? null)) { now[field] = value; was[field] = own[field] ?? null }
    }
    if (!Object.keys(now).length) return $("limits").close()
    const {error, change, kept: found} = await ask({do: "column", source, column: name, of: scope(), now, was})
    text($("limits-error"), error ?? "")
    if (error) return found && show(found)
    $("limits").close()
    linemon.verbs.done(`${name} is set`, {do: "undo", change})
  }
  function start() {
    if (!$("limits")) return
    $("limits-column").addEventListener("change", choose)
    $("limits-of").addEventListener("change", () => show(kept))
    $("limits-form").addEventListener("submit", set)
    $("limits-cancel").addEventListener("click", () => $("limits").close())
    linemon.menu.add((number) => ({text: "Limits, unit and name…", does: () => open(number)}))
  }
  return {start, level, mark, tint, into, tell, hear}
})()
