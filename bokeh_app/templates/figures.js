"use strict"
// The figures of a page: models of Bokeh's in a document of their own, of which the server knows nothing.
linemon.figures = (() => {
  const {$, colour} = linemon
  let doc = null, isShown = false, isMade, waiting = null
  const made = new Promise((done) => { isMade = done })   // all of them, also what is not in sight

  // Charts are alike: the page brings one, as JSON. What the others share with it keeps its id, all else gets its own.
  function chart(pattern, shared, {unit, right, kind}, number) {
    const found = JSON.parse(pattern, (key, value) =>
      number && shared.includes(value?.id) ? {id: value.id}
      : key == "id" && !shared.includes(value) ? `${value}.${number}`
      : key == "name" ? value.replace("chart0", `chart${number}`)
      : {UNIT: unit, RIGHT: right, KIND: kind}[value] ?? value)
    if (!right) found.attributes.right = []   // one unit, one axis
    return found
  }
  function make() {
    if (doc || !$("figures")) return
    const {doc: {roots, ...rest}, shared} = JSON.parse($("figures").textContent), {panels} = linemon.about
    if (panels) {
      const text = JSON.stringify(roots.shift())
      roots.unshift(...panels.map((panel, number) => chart(text, shared, panel, number)))
    }
    doc = Bokeh.require("document").Document.from_json({...rest, roots})
    calm()
  }
  // What Bokeh does at each repaint, and nobody sees, took more than a third of it. Where a later Bokeh has none of these
  // names, it does so again.
  function calm() {
    try {
      // It writes into style sheets where the parts of a chart lie, also of what is drawn on the canvas: each time all
      // styles are worked out anew.
      const sheet = Bokeh.require("core/dom").InlineStyleSheet.prototype, {_update} = sheet
      sheet._update = function (css) { if (this.el.textContent != css) _update.call(this, css) }
      Bokeh.Models.get("GlyphRenderer").prototype.default_view.prototype.update_position = () => {}
      // It asks the style sheet for each property of what it paints, 160 times a chart: the answer is the same everywhere.
      const visual = Bokeh.require("core/visuals/visual").VisualProperties.prototype
      visual._get_css_value = function (name) { return colour(`${this.css_prefix}${name}`.slice(2)) }
      const plot = Bokeh.Models.get("Plot").prototype.default_view.prototype, {schedule_paint} = plot
      Object.defineProperty(plot, "base_font_size", {get: () => null})  // ours are in px
      plot.schedule_paint = function () { if (waiting) waiting.add(this); else schedule_paint.call(this) }
    } catch (error) {
      console.log(`charts are drawn more slowly: ${error}`)
    }
  }
  // Only when they have something to show: each is laid out and painted once, not for an empty axis before. What is in
  // sight comes first, the others one by one.
  async function show() {
    if (!doc || isShown) return
    isShown = true
    const places = new Map(doc.roots().map((root) => [root, $(`figure-${root.name}`)]))
    // Bokeh's frame around what has the focus is for the keyboard.
    for (const each of places.values()) each.addEventListener("mousedown", (event) => { event.preventDefault(); document.activeElement.blur() })
    const isInSight = (root) => places.get(root).getBoundingClientRect().top < innerHeight
    const first = doc.roots().filter(isInSight), later = doc.roots().filter((root) => !isInSight(root))
    Object.defineProperty(doc, "all_roots", {value: first, configurable: true})   // of these it makes views
    const views = await Bokeh.embed.add_document_standalone(doc, document.body, first.map((root) => places.get(root)))
    delete doc.all_roots
    for (const root of later) {
      await new Promise((done) => setTimeout(done))
      const view = await views.build_view(root)
      view.build(places.get(root))
      Bokeh.index.add(view)
    }
    isMade()
  }
  // What a message changes is painted in the frame in which it was drawn, not in the next one, as Bokeh does: it takes new
  // data after the function has ended that set them, and before the next one of the frame begins.
  function gather() {
    if (isShown) waiting = new Set()
  }
  function paint() {
    const views = waiting ?? []
    waiting = null
    for (const view of views) if (!view.is_destroyed) view.repaint()
  }
  return {make, show, gather, paint, made}
})()
