"""TLS for the ports that take data: a certificate of ours, and where asked for one of the peer's."""

from __future__ import annotations

import ssl

from linemon.config import TlsConfig
from linemon.errors import ConfigError


def server_context(config: TlsConfig) -> ssl.SSLContext:
    """TLS 1.2 or newer with the PEM files as they are now. ConfigError says which of them is wrong."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        # A password, of whatever kind, so that a key that has one is an error and not a prompt.
        context.load_cert_chain(config.cert, config.key or None, password="")
    except OSError as error:
        raise ConfigError(f"[tls] cert = {config.cert!r}, key = {config.key!r}: {reason(error)}") from error
    if config.client_ca:
        try:
            context.load_verify_locations(config.client_ca)
        except OSError as error:
            raise ConfigError(f"[tls] client_ca = {config.client_ca!r}: {reason(error)}") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def reason(error: OSError) -> str:
    """What a person can do something with: the file is missing, or not what it should be."""
    if isinstance(error, ssl.SSLError):
        return f"not a PEM file of that kind, or not a pair ({error.reason or 'no certificate in it'})"
    return error.strerror or str(error)
