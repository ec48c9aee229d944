"""TLS of the public port: the certificate is read again when its files change."""

import asyncio
import ssl
from pathlib import Path

from cryptography import x509

from hookmill.config.options import Ingress
from hookmill.core.errors import ConfigurationError
from hookmill.telemetry import catalog
from hookmill.telemetry.logs import say

CHECK_SECS = 5.0


def certificate(options: Ingress) -> ssl.SSLContext | None:
    """The server's context, None where TLS is not configured.

    Raises ConfigurationError if the files cannot be used.
    """
    if not options.tls_cert_file or not options.tls_key_file:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(options.tls_cert_file, options.tls_key_file)
    except OSError as error:
        raise ConfigurationError(f"ingress.tls_cert_file, tls_key_file: {error}") from None
    _show_expiry(Path(options.tls_cert_file))
    return context


def _show_expiry(path: Path) -> None:
    """Of the first certificate in the file, the server's own."""
    try:
        own, *_ = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        return  # OpenSSL took it: it is served all the same
    catalog.TLS_EXPIRY.set(own.not_valid_after_utc.timestamp())


async def keep_fresh(options: Ingress, context: ssl.SSLContext) -> None:
    """For ever: when the files change, let new connections use the new certificate."""
    seen = _stamp(options)
    while True:
        await asyncio.sleep(CHECK_SECS)
        latest = _stamp(options)
        if latest == seen:
            continue
        try:
            certificate(options)  # on a trial: loading half a pair would spoil the one in use
            context.load_cert_chain(str(options.tls_cert_file), str(options.tls_key_file))
        except (OSError, ConfigurationError) as error:
            say("tls_reload_failed", error=str(error))
        else:
            say("tls_reloaded")
            seen = latest


def _stamp(options: Ingress) -> tuple[object, ...]:
    stamps: list[object] = []
    for name in (options.tls_cert_file, options.tls_key_file):
        try:
            found = Path(str(name)).stat()
            stamps.append((found.st_mtime_ns, found.st_size, found.st_ino))
        except OSError:
            stamps.append(None)
    return tuple(stamps)
