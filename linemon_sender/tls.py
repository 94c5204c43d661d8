"""TLS for the connection to the collector. Loaded only where it is asked for: `ssl` takes memory."""

from __future__ import annotations

import ssl

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

NOT_NOW = (ssl.SSLWantReadError, ssl.SSLWantWriteError)


class _Socket(ssl.SSLSocket):
    """Says that it would block as other sockets do."""

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        try:
            return super().recv(buflen, flags)
        except NOT_NOW:
            raise BlockingIOError from None

    def send(self, data: Any, flags: int = 0) -> int:
        try:
            return super().send(data, flags)
        except NOT_NOW:
            raise BlockingIOError from None


class Tls:
    """Makes connections of a host secret: it must show a certificate for its name that `ca` has signed.

    `ca`: a PEM file; empty = what this machine trusts. `cert`: a PEM file with a certificate of ours and its key, where
    the collector asks for one. `is_its_own`: `ca` is the very certificate that it shows, for whatever name. The files
    are read for each connection, so that new ones need no restart.
    """

    def __init__(self, host: str, ca: str = "", cert: str = "", is_its_own: bool = False) -> None:
        self._host, self._ca, self._cert, self._is_its_own = host, ca, cert, is_its_own

    def wrap(self, sock: socket.socket) -> socket.socket:
        """The connection in TLS, once both sides have agreed. Raises OSError; it names a file that is not right."""
        return self.context().wrap_socket(sock, server_hostname=self._host)

    def context(self) -> ssl.SSLContext:
        """What is asked of the other side. Raises OSError, as above."""
        file = self._ca
        try:
            context = ssl.create_default_context(cafile=file or None)
            if self._cert:
                file = self._cert
                context.load_cert_chain(file, password="")
        except OSError as error:
            raise OSError(error.errno, f"{file or 'what this machine trusts'}: {error.strerror or error}") from None
        if self._is_its_own:
            context.check_hostname = False
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # whoever signed it is not asked for
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.sslsocket_class = _Socket
        return context
