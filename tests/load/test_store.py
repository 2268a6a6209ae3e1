"""The store's signature against the worked example that AWS publishes for Signature Version 4."""

import hashlib
from datetime import UTC, datetime

from support import store


def test_a_request_is_signed_as_the_published_example_is() -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, "GET Object"."""
    headers = store.sign(
        "GET",
        "/test.txt",
        {
            "host": "examplebucket.s3.amazonaws.com",
            "range": "bytes=0-9",
            "x-amz-content-sha256": hashlib.sha256(b"").hexdigest(),
        },
        keys=("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        now=datetime(2013, 5, 24, tzinfo=UTC),
    )
    assert headers["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        "SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
        "Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    )


def test_the_body_is_left_unsigned() -> None:
    now = datetime(2026, 11, 24, tzinfo=UTC)
    headers = store.sign("PUT", "/models/m.onnx", {"host": "127.0.0.1:1"}, keys=("a", "b"), now=now)
    assert headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
