"use strict"
// The figures of a page: models of Bokeh's in a document of their own, of which the server knows nothing.
linemon.figures = (() => {
  const {$, colour, drawing} = linemon
  // A frame says where the keyboard is, not where the mouse was.
  const FRAME = ".bk-events:focus { outline: none } .bk-events:focus-visible { outline: 2px solid var(--accent); outline-offset: -2px }"
  let doc = null, isShown = false

  // Charts are alike: the page brings one, as JSON. What the others share with it keeps its id, all else gets its own.
  const chart = (pattern, shared, {unit, kind}, number) => JSON.parse(pattern, (key, value) =>
    number && shared.includes(value?.id) ? {id: value.id}
    : key == "id" && !shared.includes(value) ? `${value}.${number}`
    : key == "name" ? value.replace("chart0", `chart${number}`)
    : {UNIT: unit, KIND: kind}[value] ?? value)
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
  async function show() {
    if (!doc || isShown) return
    isShown = true
    const names = doc.roots().map(({name}) => name)
    await Bokeh.embed.add_document_standalone(doc, document.body, names.map((name) => $(`figure-${name}`)))
    for (const name of names) drawing(name).canvas_view.shadow_el.append(linemon.make("style", {}, FRAME))
  }
  return {make, show}
})()
