"use strict"
// The menu of a chart, ⋯ in its head. Scripts add what they can do with a chart: a function that is called with the
// chart's number each time its menu is opened, and gives what it has in it. That is an element (a form, a label with a
// field), or {text, does, on?, key?}: a button; with `on`, true or false, it is a switch, after which the menu stays open.
linemon.menu = (() => {
  const {$, all, text, make} = linemon
  const makers = []
  let chart = NaN

  const add = (maker) => makers.push(maker)
  // What a chart is called in addresses: its title, with a number from the second one of that title on.
  function keyOf(number) {
    const titles = linemon.about.panels.map(({title}) => title), before = titles.slice(0, number).filter((title) => title == titles[number]).length
    return before ? `${titles[number]} ${before + 1}` : titles[number]
  }
  // The number of the chart that is called so, or -1.
  const chartOf = (key) => linemon.about.panels.findIndex((_, number) => keyOf(number) == key)
  // The number of the chart under the pointer, or else the one that has the focus, or -1.
  function pointed() {
    const card = document.querySelector("figure.card:hover") ?? document.activeElement.closest("figure.card")
    return card ? +card.id.slice("card".length) : -1
  }

  function button(item) {
    const {text: words, does, on, key} = item, isSwitch = on != null
    const found = make("button", {type: "button", ...isSwitch ? {class: "check", "aria-pressed": on} : {}}, words)
    if (key) found.append(" ", make("kbd", {}, key))
    found.addEventListener("click", () => {
      if (!isSwitch) $("menu").hidePopover()
      does()
      if (isSwitch) fill([...$("menu").querySelectorAll("button")].indexOf(found))
    })
    return found
  }
  function fill(focused) {
    const found = makers.flatMap((maker) => maker(chart)).map((item) => item instanceof Element ? item : button(item))
    $("menu").replaceChildren(make("b", {}, linemon.about.panels[chart].title), ...found)
    if (focused >= 0) $("menu").querySelectorAll("button")[focused]?.focus()
    else $("menu").querySelector("button, input, select")?.setAttribute("autofocus", "")
  }
  function open(opener) {           // before the browser shows it, which the button does by itself
    const {right, bottom} = opener.getBoundingClientRect(), {style} = $("menu")
    chart = +opener.dataset.menu
    style.top = `${bottom + scrollY + 2}px`
    style.left = `${right + scrollX}px`
    $("menu").setAttribute("aria-label", opener.getAttribute("aria-label"))
    fill()
  }
  function move(event) {
    const step = {ArrowDown: 1, ArrowUp: -1}[event.key], found = [...$("menu").querySelectorAll("button, input, select")]
    event.stopPropagation()         // the page's own keys are for the page
    if (!step || event.target.closest("input, select")) return
    event.preventDefault()
    found.at((found.indexOf(document.activeElement) + step) % found.length).focus()
  }
  function start() {
    if (!$("menu")) return
    for (const each of all("[data-menu]")) each.addEventListener("click", () => open(each))
    $("menu").addEventListener("keydown", move)
    $("menu").addEventListener("toggle", ({newState}) => { if (newState == "open") $("menu").scrollIntoView({block: "nearest"}) })
  }
  return {add, start, keyOf, chartOf, pointed}
})()
