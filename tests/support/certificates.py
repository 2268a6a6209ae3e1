"""Certificates, made by ``openssl``: what cert-manager would put into a Secret, and clients that trust nothing else."""

import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path

from modelendpoint_operator import names


class Certificate:
    """A certificate for some hosts that has signed itself, with its key."""

    def __init__(self, folder: Path, name: str, *, hosts: Sequence[str] = ("localhost",)) -> None:
        self.name = name
        self._certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        command += ["-keyout", str(key), "-out", str(self._certificate), "-days", "2", "-subj", f"/CN={name}"]
        command += ["-addext", f"subjectAltName={','.join(f'DNS:{host}' for host in hosts)}"]
        subprocess.run(command, capture_output=True, check=True, timeout=30)
        self.certificate, self.key = self._certificate.read_text(), key.read_text()

    @property
    def files(self) -> dict[str, str]:
        """The content of its Secret."""
        return {names.TLS_CERTIFICATE_KEY: self.certificate, names.TLS_PRIVATE_KEY: self.key}


def trusting(*certificates: Certificate) -> ssl.SSLContext:
    """Build what a client needs to trust these and no others."""
    context = ssl.create_default_context()
    for certificate in certificates:
        context.load_verify_locations(cadata=certificate.certificate)
    return context
