"""TLS of the public port: served, and a changed certificate is used without a restart."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from unittest.mock import Mock

import pytest
import trustme
from aiohttp import web
from cryptography import x509

from hookmill.config.options import Ingress
from hookmill.core.errors import ConfigurationError
from hookmill.ingress import server, tls
from hookmill.ingress.protocol import Server
from hookmill.pipeline import Names
from hookmill.telemetry import catalog
from support.brokers import until


class Certificates:
    """An authority of the test's own and the files that the ingress reads."""

    def __init__(self, folder: Path) -> None:
        self.authority = trustme.CA()
        self.cert, self.key = folder / "tls.crt", folder / "tls.key"
        self.options = Ingress(tls_cert_file=str(self.cert), tls_key_file=str(self.key))

    def issue(self) -> None:
        """Write a new certificate in place of the old one."""
        issued = self.authority.issue_cert("localhost")
        issued.private_key_pem.write_to_path(str(self.key))
        issued.cert_chain_pems[0].write_to_path(str(self.cert))

    def seen(self, port: int) -> bytes:
        """The certificate that a new connection is shown, verified against the authority."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as secured,
        ):
            return secured.getpeercert(binary_form=True) or b""


@pytest.fixture
async def served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Certificates, int]]:
    """A server with a certificate that is kept fresh."""
    monkeypatch.setattr(tls, "CHECK_SECS", 0.02)
    certificates = Certificates(tmp_path)
    certificates.issue()
    context = tls.certificate(certificates.options)

    async def answer(request: web.BaseRequest) -> web.Response:
        return web.Response()

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    assert context is not None
    keeping = asyncio.ensure_future(tls.keep_fresh(certificates.options, context))
    yield certificates, runner.addresses[0][1]
    keeping.cancel()
    await runner.cleanup()


async def test_a_changed_certificate_is_used_for_new_connections(
    served: tuple[Certificates, int],
) -> None:
    """Rotation needs no restart."""
    certificates, port = served
    first = await asyncio.to_thread(certificates.seen, port)
    certificates.issue()

    async def changed() -> bool:
        return await asyncio.to_thread(certificates.seen, port) != first

    await until(changed, timeout_secs=10)


@pytest.mark.parametrize("half", ["nonsense", "of another pair"])
async def test_a_broken_certificate_leaves_the_old_one(
    served: tuple[Certificates, int], half: str
) -> None:
    """What cannot be used is told, and the service goes on: half a new pair too."""
    certificates, port = served
    first = await asyncio.to_thread(certificates.seen, port)
    if half == "nonsense":
        certificates.cert.write_text("not a certificate")
    else:
        other = certificates.authority.issue_cert("localhost")
        other.cert_chain_pems[0].write_to_path(str(certificates.cert))
    await asyncio.sleep(0.1)  # several checks; nothing to wait for, as nothing may change

    assert await asyncio.to_thread(certificates.seen, port) == first


async def test_a_handshake_has_the_time_of_headers(tmp_path: Path) -> None:
    """Whoever connects and keeps silent holds a descriptor, and TLS comes before any request."""
    certificates = Certificates(tmp_path)
    certificates.issue()
    limits = Ingress(header_timeout_secs=0.3)
    door = server.Ingress(limits, {}, Mock(), names=Names(""), now_us=lambda: 0)
    listening = await Server(door, limits).listen(
        "127.0.0.1", 0, tls=tls.certificate(certificates.options)
    )
    port = listening[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(10):
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
    writer.close()
    for each in listening:
        each.close()
        await each.wait_closed()


def test_a_certificate_that_cannot_be_read_is_an_error_at_start(tmp_path: Path) -> None:
    """Better than a front door that no provider can enter."""
    with pytest.raises(ConfigurationError, match="tls_cert_file"):
        tls.certificate(Certificates(tmp_path).options)


def test_it_is_shown_when_the_certificate_expires(tmp_path: Path) -> None:
    """Of the one that is served, again after a change."""
    certificates = Certificates(tmp_path)
    for _ in range(2):
        certificates.issue()
        tls.certificate(certificates.options)
        served = x509.load_pem_x509_certificate(certificates.cert.read_bytes())
        shown = catalog.REGISTRY.get_sample_value(
            "hookmill_tls_certificate_expiry_timestamp_seconds"
        )

        assert shown == served.not_valid_after_utc.timestamp()


def test_without_files_there_is_no_tls() -> None:
    """TLS then ends at a proxy."""
    assert tls.certificate(Ingress()) is None
