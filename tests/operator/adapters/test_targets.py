"""Which hosts gates may ask, and by which addresses."""

import pytest

from modelendpoint_operator.adapters.targets import Resolved, TargetRefused, Targets

DNS = {
    "judge.shop.svc.cluster.local.": Resolved(canonical="judge.shop.svc.cluster.local", addresses=("10.96.0.7",)),
    "pod-0.judge.shop.svc.cluster.local.": Resolved(
        canonical="pod-0.judge.shop.svc.cluster.local", addresses=("10.244.0.9",)
    ),
    "alias.shop.svc.cluster.local.": Resolved(canonical="db.bank.svc.cluster.local", addresses=("10.96.0.8",)),
    "friend.shop.svc.cluster.local.": Resolved(canonical="judge.example.com", addresses=("203.0.113.5",)),
    "metadata.shop.svc.cluster.local.": Resolved(
        canonical="metadata.shop.svc.cluster.local", addresses=("169.254.169.254",)
    ),
    "half.shop.svc.cluster.local.": Resolved(
        canonical="half.shop.svc.cluster.local", addresses=("10.96.0.9", "127.0.0.1")
    ),
    "judge.bank.svc.cluster.local.": Resolved(canonical="judge.bank.svc.cluster.local", addresses=("10.96.0.10",)),
    "judge.example.com.": Resolved(canonical="elsewhere.example.net", addresses=("203.0.113.5",)),
    "rebound.example.com.": Resolved(canonical="rebound.example.com", addresses=("169.254.169.254",)),
}
ALLOWED = ("*.example.com", "judge.bank.svc:8080", "10.0.0.7")


def resolve(name: str) -> Resolved:
    if name not in DNS:
        raise OSError(f"no such name: {name}")
    return DNS[name]


TARGETS = Targets(allowed_hosts=ALLOWED, domain="cluster.local", resolve=resolve)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://judge/", "10.96.0.7"),
        ("http://judge.shop", "10.96.0.7"),
        ("http://judge.shop.svc/", "10.96.0.7"),
        ("http://judge.shop.svc.cluster.local:9000/x", "10.96.0.7"),
        ("http://JUDGE.shop.svc.cluster.local./x", "10.96.0.7"),
        ("http://pod-0.judge.shop.svc/", "10.244.0.9"),
        ("https://judge.example.com/", "203.0.113.5"),
        ("http://friend.shop.svc/", "203.0.113.5"),
        ("http://judge.bank.svc:8080/", "10.96.0.10"),
        ("http://judge.bank.svc.cluster.local:8080/", "10.96.0.10"),
        ("http://10.0.0.7:1234/", "10.0.0.7"),
    ],
)
def test_a_service_of_the_namespace_or_an_allowed_host_is_asked_by_its_address(url: str, address: str) -> None:
    assert TARGETS.find(url, namespace="shop").addresses == (address,)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://judge.bank.svc/", "neither in namespace shop nor allowed"),
        ("http://judge.bank.svc:80/", "neither in namespace shop nor allowed"),
        ("http://judge.bank/", "neither in namespace shop nor allowed"),
        ("http://example.com/", "neither in namespace shop nor allowed"),
        ("http://evil-example.com/", "neither in namespace shop nor allowed"),
        ("http://judge.shop.svc.cluster.local.evil.net/", "neither in namespace shop nor allowed"),
        ("http://10.0.0.8/", "neither in namespace shop nor allowed"),
        ("http://127.0.0.1:8001/", "neither in namespace shop nor allowed"),
        ("http://169.254.169.254/latest/meta-data/", "neither in namespace shop nor allowed"),
        ("http://[::1]/", "neither in namespace shop nor allowed"),
        ("http://[::ffff:10.0.0.7]/", "neither in namespace shop nor allowed"),
        ("http://127.1/", "neither in namespace shop nor allowed"),
        ("http://2130706433/", "has no address"),
        ("http://localhost/", "has no address"),
        ("http://kubernetes.default.svc/", "neither in namespace shop nor allowed"),
        ("http://alias/", "is an alias of db.bank.svc.cluster.local, which is not allowed"),
        ("http://metadata/", "leads to 169.254.169.254, which gates may not ask"),
        ("http://half/", "leads to 127.0.0.1, which gates may not ask"),
        ("http://rebound.example.com/", "leads to 169.254.169.254, which gates may not ask"),
        ("http://missing/", "host missing.shop.svc.cluster.local has no address; is there a Service"),
        ("http://judge@evil.net/", "the URL is not"),
        ("http://user:word@judge/", "the URL is not"),
        ("http://judge:0/", "the URL is not"),
        ("http://judge:99999/", "the URL is not"),
        ("http://judge:x/", "the URL is not"),
        ("http:///path", "the URL is not"),
        ("http://[::1/", "the URL is not"),
        ("ftp://judge/", "the URL is not"),
    ],
)
def test_every_other_host_is_refused_with_the_reason(url: str, why: str) -> None:
    with pytest.raises(TargetRefused) as refused:
        TARGETS.find(url, namespace="shop")

    assert why in str(refused.value)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.53",
        "0.0.0.0",
        "169.254.1.1",
        "224.0.0.1",
        "240.0.0.1",
        "100.100.100.200",
        "168.63.129.16",
        "::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
        "::ffff:127.0.0.1",
    ],
)
def test_no_name_leads_to_an_address_that_is_a_machines_own(address: str) -> None:
    targets = Targets(
        allowed_hosts=("*.example.com",),
        domain="cluster.local",
        resolve=lambda name: Resolved(canonical=name, addresses=(address,)),
    )

    for url in ("http://judge.example.com/", "http://judge.shop.svc/"):
        with pytest.raises(TargetRefused, match="which gates may not ask"):
            targets.find(url, namespace="shop")


def test_what_the_installation_wrote_itself_is_asked_as_it_stands() -> None:
    assert TARGETS.find("http://127.0.0.1:9090/api", namespace="shop", is_trusted=True).addresses == ("127.0.0.1",)
    assert TARGETS.find("http://metadata.shop.svc/", namespace="bank", is_trusted=True).host == "metadata.shop.svc"


@pytest.mark.parametrize(
    ("url", "secure", "authority", "path"),
    [
        ("http://judge", False, "judge", "/"),
        ("http://judge:80/a?b=c#d", False, "judge", "/a?b=c"),
        ("http://judge:443/", False, "judge:443", "/"),
        ("https://judge/", True, "judge", "/"),
        ("https://judge:8443/a", True, "judge:8443", "/a"),
    ],
)
def test_the_request_is_made_as_the_url_says(url: str, secure: bool, authority: str, path: str) -> None:
    target = TARGETS.find(url, namespace="shop")

    assert (target.secure, target.authority, target.path) == (secure, authority, path)


def test_a_wildcard_may_name_a_port() -> None:
    targets = Targets(allowed_hosts=("*.example.com:443",), domain="cluster.local", resolve=resolve)

    assert targets.find("https://judge.example.com/", namespace="shop").port == 443
    with pytest.raises(TargetRefused):
        targets.find("http://judge.example.com/", namespace="shop")
