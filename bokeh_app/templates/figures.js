"use strict"
// The figures of a page: models of Bokeh's in a document of their own, of which the server knows nothing.
linemon.figures = (() => {
  const {$, colour} = linemon
  let doc = null, isShown = false

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
    if (!$("figures")) return
    const {doc: {roots, ...rest}, shared} = JSON.parse($("figures").textContent), {panels} = linemon.about
    if (panels) {
      const text = JSON.stringify(roots.shift())
      roots.unshift(...panels.map((panel, number) => chart(text, shared, panel, number)))
    }
    doc = Bokeh.require("document").Document.from_json({...rest, roots})
    // Bokeh asks the style sheet for each property of whatever it paints, 160 times a chart and repaint. It is the same
    // answer everywhere.
    const {prototype} = Bokeh.require("core/visuals/visual").VisualProperties
    if (prototype._get_css_value) prototype._get_css_value = function (name) { return colour(`${this.css_prefix}${name}`.slice(2)) }
  }
  // Only when they have something to show: each is laid out and painted once, not for an empty axis before.
  function show() {
    if (!doc || isShown) return
    isShown = true
    const places = doc.roots().map(({name}) => $(`figure-${name}`))
    Bokeh.embed.add_document_standalone(doc, document.body, places)
    // Bokeh's frame around what has the focus is for the keyboard.
    for (const each of places) each.addEventListener("mousedown", (event) => { event.preventDefault(); document.activeElement.blur() })
  }
  return {make, show}
})()
