"use strict"
// The figures of a page: models of Bokeh's in a document of their own, of which the server knows nothing. They are built
// while the connection is.
linemon.figures = (() => {
  // Charts are alike: the page brings one, as JSON. What the others share with it keeps its id, all else gets its own.
  const chart = (pattern, shared, {unit, kind}, number) => JSON.parse(pattern, (key, value) =>
    number && shared.includes(value?.id) ? {id: value.id}
    : key == "id" && !shared.includes(value) ? `${value}.${number}`
    : key == "name" ? value.replace("chart0", `chart${number}`)
    : {UNIT: unit, KIND: kind}[value] ?? value)
  async function build() {
    const {doc, shared} = JSON.parse(linemon.$("figures").textContent), {panels} = linemon.about
    if (panels) {
      const [pattern, ...others] = doc.roots, text = JSON.stringify(pattern)
      doc.roots = [...panels.map((panel, number) => chart(text, shared, panel, number)), ...others]
    }
    const places = Object.fromEntries(doc.roots.map(({id, attributes: {name}}) => [id, `figure-${name}`]))
    await Bokeh.embed.embed_items({figures: doc}, [{docid: "figures", roots: places, root_ids: Object.keys(places)}])
  }
  return {build}
})()
