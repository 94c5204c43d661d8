"use strict"
// What is strange now, the strangest first; a calm line while nothing is.
linemon.strange = (() => {
  const {$, text, make, model, age, since} = linemon

  function hear() {
    const {sources, more, watched, newest, is_old} = JSON.parse(model("answers").strange), section = $("strange"), {search} = linemon
    section.hidden = watched == 0
    section.classList.toggle("calm", sources.length == 0)
    const of = watched == 1 ? "one source" : `${watched} sources`
    text(section.querySelector("p"), is_old ? `No scores since ${since(newest)}: the task that makes them does not run, or the sources are silent.`
      : sources.length == 0 ? `Nothing in ${of}.` : more ? `and ${more} more of ${of}` : "")
    section.querySelector("ul").replaceChildren(...sources.map(({source, count, columns}) => {
      const item = make("li", {}, make("a", {href: search.sourceAddress(source)}, source))
      for (const [column, score, at, called] of columns) {
        const link = make("a", {href: search.plotAddress([search.term(source, column)], "1h"), title: `${score.toPrecision(2)} times what is called strange`}, called)
        item.append(make("span", {}, link, make("span", {class: "muted"}, ` ${age(at)} ago`)))
      }
      if (count > columns.length) item.append(make("span", {class: "muted"}, columns.length ? `and ${count - columns.length} more` : `${count} columns`))
      return item
    }))
  }
  return {connect: () => model("answers").properties.strange.change.connect(hear)}
})()
