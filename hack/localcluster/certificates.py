"""The cluster's own certificate authority, made with openssl, and kubeconfigs that carry a certificate in them."""

import base64
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from localcluster.commands import run

DAYS = "3650"
NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
CA_EXTENSIONS = ("basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign")
EXTENSIONS = (
    "basicConstraints=critical,CA:FALSE",
    "keyUsage=critical,digitalSignature",
    "extendedKeyUsage=clientAuth,serverAuth",
    "authorityKeyIdentifier=keyid",
)
"""All that strict checking asks for, which Python does from 3.13 on."""
OPENSSL_SETTINGS = "[req]\ndistinguished_name = name\n[name]\n"
"""Without it openssl adds what the machine's own settings say, such as CA:TRUE."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Whom a certificate names. Kubernetes reads the user from CN and the groups from O."""

    file: str
    user: str
    group: str = ""
    alternative_names: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        """The subject as openssl wants it."""
        return (f"/O={self.group}" if self.group else "") + f"/CN={self.user}"


def make_certificates(folder: Path, identities: tuple[Identity, ...]) -> None:
    """Make the authority, the key of service accounts and a certificate for each; all or nothing.

    Once; and again when other identities are wanted than those that the folder was made for.
    """
    made_for = folder / "identities"
    if made_for.exists() and made_for.read_text() == repr(identities):
        return
    beside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True, mode=0o700)
    (beside / "openssl.cnf").write_text(OPENSSL_SETTINGS)
    _sign(beside, "ca", "/CN=modelendpoint-local-ca", CA_EXTENSIONS)
    for identity in identities:
        names = ",".join(identity.alternative_names) or f"DNS:{identity.file}"
        extensions = (f"subjectAltName={names}", *EXTENSIONS)
        _sign(beside, identity.file, identity.subject, extensions, by="ca")
    run(
        [
            "openssl",
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-out",
            beside / "sa.key",
        ]
    )
    run(["openssl", "pkey", "-in", beside / "sa.key", "-pubout", "-out", beside / "sa.pub"])
    (beside / made_for.name).write_text(repr(identities))
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)


def _sign(folder: Path, file: str, subject: str, extensions: tuple[str, ...], *, by: str = "") -> None:
    signer = ("-CA", f"{by}.crt", "-CAkey", f"{by}.key") if by else ()
    added = [argument for extension in extensions for argument in ("-addext", extension)]
    command = ["openssl", "req", "-x509", *NEW_KEY, "-config", "openssl.cnf", "-days", DAYS, "-subj", subject]
    run([*command, "-keyout", f"{file}.key", "-out", f"{file}.crt", *signer, *added], folder=folder)


def read_kubeconfig(folder: Path, file: str, *, server: str, name: str) -> str:
    """Build a kubeconfig that holds everything, from the certificate of that name."""

    def data(path: str) -> str:
        return base64.b64encode((folder / path).read_bytes()).decode()

    cluster = {"server": server, "certificate-authority-data": data("ca.crt")}
    user = {"client-certificate-data": data(f"{file}.crt"), "client-key-data": data(f"{file}.key")}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    return json.dumps(document, indent=1) + "\n"
