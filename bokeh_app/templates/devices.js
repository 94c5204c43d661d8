"use strict"
// Devices: the page that lists them, and on a device's own page what may be set of it.
linemon.devices = (() => {
  const {$, text, make, model, age, now, since, ask} = linemon
  const PACES = [0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60]   // seconds: where the slider of `interval` stops
  const CALM_MS = 400        // without another key
  const PATIENCE_MS = 3000   // until what is said has what was wished
  let said = {devices: []}, shown = "", wished = {settings: [], until: 0}

  const same = (a, b) => JSON.stringify(a) == JSON.stringify(b)
  const written = (value) => Array.isArray(value) && value.every((each) => typeof each == "string") ? value.join(", ") : typeof value == "string" ? value : JSON.stringify(value)
  // What became of a wish: its state, and in words.
  function fate(device, key) {
    if (!(key in device.desired)) return ["", ""]
    if (device.waiting_since != null) return ["waiting", `waiting since ${since(Date.parse(device.waiting_since))}${device.connected ? "" : ": it is away"}`]
    if (key in device.refused) return ["refused", `refused: ${device.refused[key]}`]
    return same(device.reported[key], device.desired[key]) ? ["applied", "applied"] : ["refused", `it says ${written(device.reported[key] ?? null)}`]
  }
  function seen(device) {
    const when = device.since == null ? "" : age(Date.parse(device.since))
    return device.connected ? `connected for ${when}` : when ? `silent for ${when}` : "not seen since the collector's start"
  }
  const spec = ({spec: {version, offered}}) => offered != null && offered != version ? `${version ?? "none"}, offered ${offered}` : version ?? "–"
  const remarks = (device) => [
    ...Object.entries(device.refused).filter(([key]) => !(key in device.desired)).map(([key, why]) => `${key} refused: ${why}`),
    device.clone && `a clone at ${device.clone} is refused`,
    device.wanted && `asked for the name ${device.wanted}, which another device has`,
    device.foreign && `${device.foreign} other connection${device.foreign == 1 ? "" : "s"} wrote to it`,
  ].filter(Boolean).join("; ")
  async function order(what, error, ...elements) {
    for (const element of elements) element.disabled = true
    const {error: why} = await ask(what)
    for (const element of elements) element.disabled = false
    if (what.settings && !why) wished = {settings: Object.entries(what.settings), until: performance.now() + PATIENCE_MS}
    error.hidden = !why
    text(error, why)
    return !why
  }

  // -- on a device's own page

  // What a field says, in the kind that the value has now; undefined where it is none.
  function read(field, value) {
    const entered = field.value.trim()
    if (Array.isArray(value) && !entered.startsWith("[")) return entered ? entered.split(",").map((each) => each.trim()).filter(Boolean) : []
    if (typeof value == "string") return entered
    try { return JSON.parse(entered) } catch { return typeof value == "number" ? undefined : entered }
  }
  function control(device, key) {
    const value = device.desired[key] ?? device.reported[key], error = $("setting-error"), id = `setting-${key}`
    const set = (wish, ...elements) => order({do: "set", name: device.name, settings: {[key]: wish}}, error, ...elements)
    if (typeof value == "boolean") {
      const box = make("input", {type: "checkbox", id})
      box.checked = value
      box.addEventListener("change", () => set(box.checked, box))
      return [box]
    }
    const field = make("input", {id, value: written(value ?? ""), autocomplete: "off", spellcheck: "false", maxlength: "2000", ...typeof value == "number" ? {inputmode: "decimal", size: "7"} : {}})
    const isPace = key == "interval" && typeof value == "number"
    const button = make("button", {"aria-label": `Set ${key}`}, "Set"), form = make("form", {}, field, isPace ? "s" : "", button)
    form.addEventListener("submit", async (event) => {
      event.preventDefault()
      const wish = read(field, value)
      error.hidden = wish !== undefined
      if (wish === undefined) text(error, `${key}: ${field.value} is no number`)
      else if (await set(wish, button)) field.blur()
    })
    if (!isPace) return [form]
    const place = PACES.reduce((best, pace, at) => Math.abs(Math.log(pace / value)) < Math.abs(Math.log(PACES[best] / value)) ? at : best, 0)
    const slider = make("input", {type: "range", min: 0, max: PACES.length - 1, value: place, "aria-label": "interval, seconds", "aria-valuetext": `${value} s`})
    slider.addEventListener("input", () => { field.value = PACES[slider.value]; slider.setAttribute("aria-valuetext", `${PACES[slider.value]} s`) })
    // Each key that is pressed is a change. The wish is what they come to, and is sent alone, or one would overtake another.
    let calm, isAsking = false
    const wait = () => { clearTimeout(calm); calm = setTimeout(settle, CALM_MS) }
    async function settle() {
      if (isAsking) return wait()
      isAsking = true
      const pace = PACES[slider.value], isSet = await set(pace, button)
      isAsking = false
      if (isSet && pace == PACES[slider.value]) slider.blur()
    }
    slider.addEventListener("change", wait)
    return [slider, form]
  }
  function row(device, key) {
    const [state, words] = fate(device, key), may = document.body.dataset.maySet, error = $("setting-error")
    const element = make("tr", {"data-key": key}, make("th", {scope: "row"}, may ? make("label", {for: `setting-${key}`}, key) : key))
    element.append(make("td", {}, written(device.reported[key] ?? "–")), make("td", {class: "set"}, ...may ? control(device, key) : [written(device.desired[key] ?? "–")]))
    const last = make("td", {}, make("span", {class: `fate ${state}`}, words))
    if (may && key in device.desired) {
      const back = make("button", {type: "button", "aria-label": `Take the wish for ${key} back`, title: "Take the wish back"}, "×")
      back.addEventListener("click", () => order({do: "set", name: device.name, settings: {[key]: null}}, error, back))
      last.append(" ", back)
    }
    element.append(last)
    return element
  }
  function own() {
    const place = $("device"), [device] = said.devices
    if (!place) return
    place.hidden = !device
    if (!device) return
    text($("device-who"), `${device.product} ${device.serial}`)
    text($("device-state"), [device.blocked ? "blocked" : seen(device), device.address && `from ${device.address}`, device.spec.offered != null && `spec ${spec(device)}`, remarks(device)].filter(Boolean).join(", "))
    const fates = Object.keys(device.desired).map((each) => [...fate(device, each), each]), worst = fates.find(([state]) => state == "refused") ?? fates.find(([state]) => state == "waiting")
    $("device-fate").className = `fate ${worst?.[0] ?? ""}`
    text($("device-fate"), worst ? `${worst[2]} ${worst[1]}` : "")
    const {since: _, ...rest} = device, key = JSON.stringify(rest), body = $("settings").tBodies[0]
    if (key == shown || body.contains(document.activeElement)) return   // not under the hand of who is about to choose
    // Nor back to what was before, which is still said.
    if (performance.now() < wished.until && !wished.settings.every(([each, value]) => same(device.desired[each] ?? null, value))) return
    shown = key
    const keys = [...new Set([...Object.keys(device.reported), ...Object.keys(device.desired)])]
    body.replaceChildren(...keys.map((each) => row(device, each)))
    $("settings").hidden = keys.length == 0
  }

  // -- the list

  function line(device) {
    const [state, name] = device.blocked ? ["critical", "blocked"] : device.connected ? ["ok", "connected"] : ["pending", "away"]
    const wishes = Object.entries({...device.reported, ...device.desired}).map(([key, value]) => {
      const [fated, words] = fate(device, key)
      return make("span", {class: `wish ${fated}`, title: words}, `${key} ${written(value)}${fated && fated != "applied" ? ` (${words})` : ""}`)
    })
    const does = make("td", {class: "does"})
    if (document.body.dataset.maySet) {
      const button = make("button", {type: "button", "aria-label": `${device.blocked ? "Unblock" : "Block"} ${device.name}`}, device.blocked ? "Unblock" : "Block")
      button.addEventListener("click", () => order({do: device.blocked ? "unblock" : "block", name: device.name}, $("order-error"), button))
      does.append(button)
    }
    const when = make("span", {class: "muted"})
    const element = make("tr", {}, make("td", {}, make("span", {class: `level ${state}`}, name), when),
      make("td", {}, make("a", {href: linemon.search.sourceAddress(device.name)}, device.name), make("span", {class: "muted"}, remarks(device))),
      make("td", {}, device.product, make("span", {class: "muted"}, [device.serial, device.address].filter(Boolean).join(" · "))),
      make("td", {}, spec(device)), make("td", {class: "wishes"}, ...wishes), does)
    return {device, element, when}
  }
  let lines = []
  function list() {
    const table = $("devices"), {devices, more, all, fault} = said
    if (!table) return
    const key = JSON.stringify(devices)
    if (table.dataset.key != key && !table.contains(document.activeElement)) {
      table.dataset.key = key
      lines = devices.map(line)
      table.tBodies[0].replaceChildren(...lines.map(({element}) => element))
    }
    for (const {device, when} of lines) text(when, seen(device).replace("connected ", ""))
    table.closest("section").hidden = devices.length == 0
    text($("counts"), all ? `${all} registered, ${devices.filter((each) => each.connected).length} connected` : "")
    $("no-collector").hidden = !fault
    text($("no-collector"), fault ?? "")
    const [head, words] = $("no-devices").children
    $("no-devices").hidden = devices.length > 0 || !!fault
    text(head, $("find").value ? "No such device" : "No device has registered")
    text(words, $("find").value ? "None has that in its name, product or serial." : "A sender that says “#device PRODUCT SERIAL” is one, and so is linemon's agent.")
    $("more-devices").hidden = !more
    text($("more-devices"), `and ${more} more: type to find them`)
  }
  function hear() {
    said = JSON.parse(model("answers").devices)
    own()
    list()
    linemon.tell()
  }
  const connect = () => model("answers").properties.devices.change.connect(hear)
  linemon.pages.devices = {
    start: () => { linemon.search.connect(); setInterval(() => said.all != null && list(), linemon.S); return 300 },
    take: () => {}, draw: () => {}, redraw: () => { if (said.all != null) list() },
    state: () => said.all == null || said.fault ? "waiting" : "live",
  }
  return {connect}
})()
