"""Signing keys, JSON Web Tokens and key sets, made by ``openssl``: what an identity provider would give."""

import base64
import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ISSUER = "https://id.example"
AUDIENCE = "churn"


class SigningKey:
    """An RSA key with an id, in a file of its own."""

    def __init__(self, folder: Path, key_id: str) -> None:
        self.key_id = key_id
        self._file = folder / f"{key_id}.pem"
        _openssl("genrsa", "-out", str(self._file), "2048")

    def public(self) -> dict[str, str]:
        """Write the public half as a JSON Web Key."""
        modulus = _openssl("rsa", "-in", str(self._file), "-noout", "-modulus").decode().strip().partition("=")[2]
        number = _text(bytes.fromhex(modulus))
        return {"kty": "RSA", "kid": self.key_id, "alg": "RS256", "use": "sig", "n": number, "e": "AQAB"}

    def token(self, **claims: Any) -> str:
        """Sign a token that is good for ten minutes; a claim that is None is left out."""
        usual = {"iss": ISSUER, "aud": AUDIENCE, "sub": "shop", "exp": int(time.time()) + 600}
        claims = {name: value for name, value in {**usual, **claims}.items() if value is not None}
        signed = unsigned({"alg": "RS256", "kid": self.key_id}, claims)
        return f"{signed}.{_text(_openssl('dgst', '-sha256', '-sign', str(self._file), stdin=signed.encode()))}"


def unsigned(header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    """Write a token's first two parts."""
    return ".".join(_text(json.dumps(part).encode()) for part in (header, claims))


def key_set(*keys: SigningKey) -> str:
    """Write a JSON Web Key Set."""
    return json.dumps({"keys": [key.public() for key in keys]})


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _openssl(*arguments: str, stdin: bytes | None = None) -> bytes:
    command: Sequence[str] = ["openssl", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, check=True, timeout=30).stdout
