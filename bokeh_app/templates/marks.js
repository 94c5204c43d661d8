"use strict"
// Marks: moments with a text. Charts draw them as dotted lines, as far as there is room with their text.
linemon.marks = (() => {
  const {$, text, make, model, colour, keys, ask, date, seconds} = linemon
  const LETTER = 6.1, LEAST = 8, NEAR = 6   // pixels of a letter; letters of a longer text that say something; pixels around a line
  let marks = [], isOn = localStorage.getItem("linemon.marks") != "off", at = NaN

  // The sources of a chart, which has their marks, and those of no source.
  const own = new Map()
  function sourcesOf(number) {
    const {panels, columns, sources} = linemon.about
    if (!own.has(number)) own.set(number, new Set(panels[number].lines.map(({column}) => sources[columns[column].source])))
    return own.get(number)
  }
  const said = (number, {text, source}) => source && sourcesOf(number).size > 1 && !text.includes(source) ? `${source}: ${text}` : text
  const colourOf = ({kind}) => colour(kind == "alarm" ? "bad" : "muted")
  const inSight = (number) => {
    const {start, end} = linemon.time.range, mine = sourcesOf(number)
    return marks.filter(({time, source}) => time >= start && time <= end && (source == null || mine.has(source)))
  }
  // Add the lines and texts of one chart to what it draws; `range` is that of its values.
  function into(number, lines, texts, range) {
    const shown = inSight(number)
    if (!shown.length) return
    const {start, end} = linemon.time.range, perMs = ($(`plot${number}`).clientWidth - 82) / (end - start)
    let limit = end
    for (const [i, mark] of [...shown.entries()].reverse()) {
      const color = colourOf(mark), words = said(number, mark), needs = words.length * LETTER + 10
      lines.xs.push([mark.time, mark.time])
      lines.ys.push([range.start, range.end])
      lines.color.push(color)
      lines.dash.push("dotted")
      const right = (limit - mark.time) * perMs
      // The newest stands at the edge: its text is over what is before it.
      const before = (mark.time - start) * perMs, isLeft = i == shown.length - 1 && right < needs && before > right
      const letters = Math.floor(((isLeft ? before : right) - 10) / LETTER)
      limit = Math.min(limit, mark.time)
      if (letters < words.length && letters < Math.max(LEAST, words.length / 2)) continue   // the tooltip says it
      const shortened = words.length > letters ? `${words.slice(0, letters - 1)}…` : words
      texts.xs.push(mark.time)
      texts.ys.push(range.end)
      texts.text.push(shortened)
      texts.color.push(color)
      texts.align.push(isLeft ? "right" : "left")
      texts.offset.push(isLeft ? -4 : 4)
      if (isLeft) limit -= (shortened.length * LETTER + 10) / perMs   // nothing is to be over it
    }
  }
  // What to say of the marks under a pointer at a time on a chart.
  function near(number, time) {
    const {start, end} = linemon.time.range, room = NEAR * (end - start) / ($(`plot${number}`).clientWidth - 82)
    return !isOn ? [] : inSight(number).filter((mark) => Math.abs(mark.time - time) <= room).map((mark) => `${linemon.zero ? "" : `${seconds(new Date(mark.time))} `}${said(number, mark)}`)
  }
  function hear() {
    const said = JSON.parse(model("answers").marks)
    marks = said.marks.map(([time, text, source, kind]) => ({time, text, source, kind}))
    text($("marks").querySelector("summary"), said.left_out ? `Marks (${said.left_out} older ones are left out)` : "Marks")
    linemon.charts.redraw()
  }

  // -- the switch, and a mark that is set here

  function show(on) {
    isOn = on
    localStorage.setItem("linemon.marks", on ? "on" : "off")
    $("show-marks").setAttribute("aria-pressed", on)
    linemon.charts.redraw()
  }
  const local = (time) => { const when = new Date(time); return `${date(when)}T${seconds(when)}` }
  function open(time) {
    const dialog = $("mark-dialog"), {range, isLive} = linemon.time
    if (!dialog || dialog.open) return
    at = time ?? (isLive ? linemon.now() : (range.start + range.end) / 2)
    $("mark-time").value = local(at)
    text($("mark-error"), "")
    dialog.showModal()
    $("mark-text").focus()
  }
  async function set(event) {
    event.preventDefault()
    const field = $("mark-time").value, time = field == local(at) ? at : Date.parse(field)
    $("mark-set").disabled = true
    const {error} = await ask({do: "mark", text: $("mark-text").value, time, source: $("mark-source").value})
    $("mark-set").disabled = false
    text($("mark-error"), error)
    if (error) return
    $("mark-text").value = ""
    $("mark-dialog").close()
  }
  function start() {
    model("answers").properties.marks.change.connect(hear)
    show(isOn)
    $("show-marks").addEventListener("click", () => show(!isOn))
    if (!$("mark-dialog")) return
    $("mark-source").append(...[...new Set(linemon.about.sources)].map((name) => make("option", {value: name}, name)), make("option", {value: ""}, "all sources"))
    $("mark-here").addEventListener("click", () => { $("marks").open = false; open() })
    $("mark-form").addEventListener("submit", set)
    $("mark-cancel").addEventListener("click", () => $("mark-dialog").close())
    if (matchMedia("(pointer: coarse)").matches)   // a mouse may rest where it begins to drag
      linemon.about.panels.forEach((_, number) => model(`chart${number}`).on_event("press", ({x}) => open(x)))
    keys.m = () => open(linemon.values.pointed())
  }
  return {start, into, near, get isOn() { return isOn }, get all() { return marks }}
})()
