"""Certificates for the tests, made by the real openssl."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path


def openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


class Authority:
    """A certificate authority in a folder; what it signs is for `localhost` and 127.0.0.1.

    With all that RFC 5280 asks for: Python checks it from 3.13 on.
    """

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self.folder = folder
        self.cert, self._key = folder / f"{name}.pem", folder / f"{name}.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
                "-keyout", self._key, "-out", self.cert)  # fmt: skip

    def issue(self, name: str) -> tuple[Path, Path]:
        """A certificate and its key."""
        cert, key, request = (self.folder / f"{name}.{kind}" for kind in ("pem", "key", "csr"))
        names = self.folder / "names"
        names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nauthorityKeyIdentifier=keyid\n")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                "-keyout", key, "-out", request)  # fmt: skip
        openssl("x509", "-req", "-in", request, "-CA", self.cert, "-CAkey", self._key, "-CAcreateserial", "-days", "2",
                "-extfile", names, "-out", cert)  # fmt: skip
        return cert, key

    def client(self, shown: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        """What a client needs that trusts us, and shows a certificate with its key if it is given them."""
        context = ssl.create_default_context(cafile=self.cert)
        if shown:
            context.load_cert_chain(*shown)
        return context
