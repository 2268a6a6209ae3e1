"""HTTPS in the real Envoy: new certificates cost no request, bad ones change nothing, and nothing goes in the clear by accident."""

import hashlib
import http.client
import json
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from modelendpoint_operator import names
from modelendpoint_operator.manifests.router import certificate_command
from support.certificates import Certificate, trusting
from support.router_rig import RouterRig, an_endpoint, traffic
from support.routers import ModelServer, wait_until

SECRET = {"secretRef": {"name": "churn-tls"}}
OVER_TLS = an_endpoint(tls=SECRET)
OVER_BOTH = an_endpoint(tls={**SECRET, "allowHttp": True})


class Encrypted:
    """A router with a certificate in front of one server."""

    def __init__(self, folder: Path) -> None:
        self.rig = RouterRig(folder)
        self.server = ModelServer(7)

    def serve(self, files: Mapping[str, str], endpoint: Any = OVER_TLS) -> None:
        self.mount(files)
        self.rig.serve(endpoint, {7: 100}, [self.server])

    def mount(self, files: Mapping[str, str]) -> None:
        self.rig.router.mount(names.TLS_DIR, files)

    def status(self, tls: ssl.SSLContext, headers: Mapping[str, str] | None = None) -> int:
        """Ask on a new connection."""
        with self.rig.client(tls) as client:
            return client.ask(headers)[0]

    def answers_with(self, certificate: Certificate) -> bool:
        """Tell whether new connections get this certificate."""
        try:
            return self.status(trusting(certificate)) == 200
        except (OSError, http.client.HTTPException):
            return False

    def has_certificate(self) -> bool:
        """Ask as the pod's startup probe does."""
        command = certificate_command(admin_port=self.rig.router.admin_port)
        return subprocess.run(command, check=False, capture_output=True, timeout=10).returncode == 0

    def stop(self) -> None:
        self.rig.router.stop()
        self.server.die()


@pytest.fixture
def router(tmp_path: Path) -> Iterator[Encrypted]:
    router = Encrypted(tmp_path)
    yield router
    router.stop()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> list[Certificate]:
    folder = tmp_path_factory.mktemp("certificates")
    return [Certificate(folder, name) for name in ("first", "second")]


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory, certificates: list[Certificate]) -> Iterator[Encrypted]:
    router = Encrypted(tmp_path_factory.mktemp("router"))
    router.serve(certificates[0].files)
    yield router
    router.stop()


def test_requests_are_answered_over_https(encrypted: Encrypted, certificates: list[Certificate]) -> None:
    with encrypted.rig.client(trusting(certificates[0])) as client:
        status, headers, body = client.ask({"x-request-id": "r-1"})

    assert (status, headers["x-model-revision"], headers["x-request-id"], body) == (200, "7", "r-1", b"{}")
    assert encrypted.rig.status().troubles == {}
    assert encrypted.has_certificate()


@pytest.mark.parametrize("offered", [["h2", "http/1.1"], ["http/1.1"]])
def test_clients_that_can_get_http_2(encrypted: Encrypted, certificates: list[Certificate], offered: list[str]) -> None:
    context = trusting(certificates[0])
    context.set_alpn_protocols(offered)
    with encrypted.rig.client(context) as client:
        client.connection.connect()
        assert client.connection.sock.selected_alpn_protocol() == offered[0]


@pytest.mark.parametrize(
    ("version", "is_spoken"),
    [("TLSv1", False), ("TLSv1_1", False), ("TLSv1_2", True), ("TLSv1_3", True)],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_nothing_below_tls_1_2_is_spoken(
    encrypted: Encrypted, certificates: list[Certificate], version: str, is_spoken: bool
) -> None:
    context = trusting(certificates[0])
    # Otherwise the client itself would not speak it.
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    if is_spoken:
        assert encrypted.status(context) == 200
    else:
        with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
            encrypted.status(context)


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", "/v1/models/churn:predict", "/metrics"])
def test_plain_http_is_refused_and_reaches_no_server(encrypted: Encrypted, method: str, path: str) -> None:
    seen = len(encrypted.server.requests)

    status, _, body = encrypted.rig.ask(path=path, method=method)

    assert status == 403
    assert json.loads(body)["code"] == "Forbidden"
    assert "use https:// and port 443 (spec.routing.tls)" in json.loads(body)["error"]
    assert len(encrypted.server.requests) == seen


def test_plain_http_is_answered_where_it_is_allowed(router: Encrypted, certificates: list[Certificate]) -> None:
    router.serve(certificates[0].files, OVER_BOTH)

    assert router.rig.ask()[0] == 200
    assert router.answers_with(certificates[0])


def test_keys_are_asked_for_over_https_too(router: Encrypted, certificates: list[Certificate]) -> None:
    router.rig.router.mount(names.KEYS_DIR, {names.KEYS_KEY: f"{hashlib.sha256(b's3cret').hexdigest()} shop"})
    router.serve(certificates[0].files, an_endpoint(tls=SECRET, auth={"apiKeys": {"secretRef": {"name": "keys"}}}))
    context = trusting(certificates[0])

    assert router.status(context) == 401
    assert router.status(context, {"x-api-key": "s3cret"}) == 200
    assert router.rig.ask({"x-api-key": "s3cret"})[0] == 403


def test_certificates_rotate_while_requests_run_and_connections_live_on(
    router: Encrypted, certificates: list[Certificate]
) -> None:
    router.serve(certificates[0].files)
    with (
        router.rig.client(trusting(certificates[0])) as kept,
        traffic(router.rig, tls=trusting(*certificates)) as running,
    ):
        assert kept.ask()[0] == 200
        connection = kept.connection.sock
        for turn in range(1, 6):
            old, new = certificates[(turn + 1) % 2], certificates[turn % 2]
            router.mount(new.files)
            wait_until(lambda new=new: router.answers_with(new))
            assert not router.answers_with(old)
            running.wait_for_more(20)
        assert kept.ask()[0] == 200
        assert kept.connection.sock is connection

    assert running.counted.keys() == {200}


def test_every_new_connection_is_answered_while_certificates_rotate(
    router: Encrypted, certificates: list[Certificate]
) -> None:
    router.serve(certificates[0].files)
    context = trusting(*certificates)

    for turn in range(1, 11):
        router.mount(certificates[turn % 2].files)
        assert [router.status(context) for _ in range(10)] == [200] * 10


def test_without_the_secret_nobody_is_answered_until_it_comes(
    router: Encrypted, certificates: list[Certificate]
) -> None:
    router.serve({})

    assert not router.answers_with(certificates[0])
    assert router.rig.ask()[0] == 403
    assert router.rig.status().troubles == {"tls": "missing"}
    assert not router.has_certificate()

    router.mount(certificates[0].files)
    wait_until(lambda: router.answers_with(certificates[0]))
    assert router.rig.status().troubles == {}
    assert router.has_certificate()


def test_a_key_of_another_certificate_is_of_no_use_until_the_right_one_comes(
    router: Encrypted, certificates: list[Certificate]
) -> None:
    first, second = certificates
    router.serve({**first.files, names.TLS_PRIVATE_KEY: second.key})

    assert not router.answers_with(first)
    assert router.rig.status().troubles == {"tls": "invalid"}
    assert not router.has_certificate()

    router.mount(first.files)
    wait_until(lambda: router.answers_with(first))
    assert router.rig.status().troubles == {}


def test_what_is_no_certificate_replaces_none(router: Encrypted, certificates: list[Certificate]) -> None:
    first, second = certificates
    router.serve(first.files)
    with traffic(router.rig, tls=trusting(first)) as running:
        for bad, trouble in [
            ({}, {"tls": "missing"}),
            ({names.TLS_CERTIFICATE_KEY: "?", names.TLS_PRIVATE_KEY: "?"}, {"tls": "invalid"}),
            ({**first.files, names.TLS_PRIVATE_KEY: second.key}, {}),
        ]:
            router.mount(bad)
            running.wait_for_more(20)
            assert router.rig.status().troubles == trouble
            assert router.answers_with(first)
            assert router.has_certificate()

    assert running.counted.keys() == {200}
    assert router.rig.counter("envoy_sds_key_rotation_failed") == 3
    router.mount(second.files)
    wait_until(lambda: router.answers_with(second))


def test_plain_http_is_shut_while_https_goes_on(router: Encrypted, certificates: list[Certificate]) -> None:
    router.serve(certificates[0].files, OVER_BOTH)
    with router.rig.client() as kept, traffic(router.rig, tls=trusting(certificates[0])) as running:
        assert kept.ask()[0] == 200
        router.rig.serve(OVER_TLS, {7: 100}, [router.server])
        running.wait_for_more(50)
        last, after = kept.ask(), kept.ask()

    assert (last[0], last[1]["connection"], after[0]) == (200, "close", 403)
    assert running.counted.keys() == {200}
