"""Marks that parts set: by the collector's HTTP port, with the secret of parts. It blocks."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterable

from linemon.config import Config
from linemon.errors import LinemonError
from linemon.ports import Address
from linemon.store.folder import read_key
from linemon.store.marks import Mark
from linemon.store.status import read_status

WAIT_S = 5.0


def set_marks(config: Config, marks: Iterable[Mark]) -> None:
    """Set them. LinemonError where the collector is away, or refuses one; those after it are not set."""
    store = config.store.folder
    address = Address.parse(read_status(store).get("http", str(config.http.listen))).from_here
    if config.http.tls:
        context = ssl.create_default_context(cafile=config.tls.cert)
        context.check_hostname = False  # it is the one of this file's certificate, whatever name that has
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            address.host, address.port, timeout=WAIT_S, context=context
        )
    else:
        connection = http.client.HTTPConnection(address.host, address.port, timeout=WAIT_S)
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {read_key(store)}"}
    try:
        for mark in marks:
            connection.request("POST", "/api/marks", json.dumps(mark.fields).encode(), headers)
            answer = connection.getresponse()
            said = answer.read()
            if answer.status != http.client.OK:
                raise LinemonError(f"no mark is set: {said[:200].decode(errors='replace')}")
    except (OSError, http.client.HTTPException) as error:
        raise LinemonError(f"no mark is set: {error}") from None
    finally:
        connection.close()
