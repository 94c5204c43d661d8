"use strict"
// What can be done to a source: pin, hide, rename, delete; each but the last can be undone.
linemon.verbs = (() => {
  const {$, all, text, make, ask} = linemon
  const DONE_MS = 20_000   // how long what was done is shown
  const WORDS = {pinned: ["Pin", "Unpin", "is pinned", "is not pinned any more"], hidden: ["Hide", "Show", "is hidden", "is shown again"]}
  let name = "", flags = {}, timer = 0

  function button(source, kept) {
    const found = make("button", {type: "button", class: "dots", "aria-haspopup": "dialog", "aria-label": `Pin, hide, rename or delete ${source}`}, "⋯")
    found.addEventListener("click", (event) => { event.stopPropagation(); open(source, kept) })
    return found
  }
  function open(source, kept) {
    name = source
    text($("verbs-title"), name)
    $("verb-name").value = name
    text($("verb-error"), "")
    $("verb-sure").hidden = true
    show(kept)
    $("verbs").showModal()
  }
  function show(kept) {
    flags = kept
    for (const each of all(".verb")) text(each, WORDS[each.dataset.flag][flags[each.dataset.flag] ? 1 : 0])
  }
  async function work(what) {
    for (const each of all("#verbs button")) each.disabled = true
    const said = await ask(what)
    for (const each of all("#verbs button")) each.disabled = false
    text($("verb-error"), said.error ?? "")
    if (said.kept) show(said.kept)
    return said
  }
  // Say what was done, and offer to undo it; also on the page that comes next, as where this one is left for it.
  function done(words, undo, address, link, until = Date.now() + DONE_MS) {
    $("verbs")?.close()
    sessionStorage.setItem("linemon.done", JSON.stringify({words, undo, link, until}))
    if (address != null) {
      location.href = address
      return
    }
    const place = $("done")
    place.firstElementChild.replaceChildren(link ? make("a", {href: link}, words) : words)
    place.lastElementChild.hidden = !undo
    place.lastElementChild.onclick = () => takeBack(undo)
    place.hidden = false
    clearTimeout(timer)
    timer = setTimeout(() => { place.hidden = true }, until - Date.now())
  }
  async function takeBack(undo) {
    const {error} = await ask(undo)
    if (error) return done(error)
    if (undo.address != null) return done("Undone", null, undo.address)
    if (undo.do == "rename" && linemon.about.kind == "source") return done(`It is called ${undo.to} again`, null, linemon.search.sourceAddress(undo.to))
    if (linemon.about.kind == "source") location.reload()
    done("Undone")
  }
  async function set(flag) {
    const on = !flags[flag], source = name, {error, change} = await work({do: "keep", source, flag, on})
    if (!error) done(`${source} ${WORDS[flag][on ? 2 : 3]}`, {do: "undo", change})
  }
  async function rename(event) {
    event.preventDefault()
    const source = name, to = $("verb-name").value, {error} = await work({do: "rename", source, to})
    if (!error) done(`${source} is called ${to} now`, {do: "rename", source: to, to: source}, linemon.about.kind == "source" ? linemon.search.sourceAddress(to) : null)
  }
  async function forget() {
    const source = name, {error} = await work({do: "forget", source})
    if (!error) done(`${source} is deleted`, null, linemon.about.kind == "source" ? "?" : null)
  }
  function start() {
    const left = JSON.parse(sessionStorage.getItem("linemon.done") ?? "{}")
    if (left.until > Date.now()) done(left.words, left.undo, null, left.link, left.until)
    if (!$("verbs")) return
    for (const each of all(".verb")) each.addEventListener("click", () => set(each.dataset.flag))
    $("verb-rename").addEventListener("submit", rename)
    $("verb-delete").addEventListener("click", () => { $("verb-sure").hidden = false; $("verb-sure").lastElementChild.focus() })
    $("verb-sure").lastElementChild.addEventListener("click", forget)
    $("verbs-of")?.addEventListener("click", () => open(linemon.about.source, flags.pinned == null && flags.hidden == null ? linemon.about.flags : flags))
  }
  return {start, button, done, get may() { return $("verbs") != null }}
})()
