"""The operator's settings from its environment."""

import pytest

from modelendpoint_operator.settings import PREFIX, Settings, SettingsError


def test_an_empty_environment_has_good_defaults() -> None:
    settings = Settings.from_environment({"PATH": "/bin", "MODELENDPOINT_NAME": "not ours"})

    assert settings == Settings()
    assert settings.watch_namespaces == ()
    assert settings.drain.total_seconds() == settings.drain_seconds == 15


@pytest.mark.parametrize(
    ("text", "namespaces"), [("", ()), ("shop", ("shop",)), (" shop , bank,,", ("shop", "bank")), (" , ", ())]
)
def test_namespaces_stand_with_commas_between(text: str, namespaces: tuple[str, ...]) -> None:
    settings = Settings.from_environment({f"{PREFIX}WATCH_NAMESPACES": text})

    assert settings.watch_namespaces == namespaces


def test_every_setting_is_taken_from_its_variable() -> None:
    settings = Settings.from_environment(
        {
            f"{PREFIX}SERVER_IMAGE": "s:1",
            f"{PREFIX}ROUTER_IMAGE": "r:1",
            f"{PREFIX}IMAGE_PULL_POLICY": "Never",
            f"{PREFIX}DRAIN_SECONDS": "0",
            f"{PREFIX}WORKERS": "2",
            f"{PREFIX}PORT": "9000",
            f"{PREFIX}LOG_LEVEL": "debug",
        }
    )

    assert (settings.server_image, settings.router_image, settings.image_pull_policy) == ("s:1", "r:1", "Never")
    assert (settings.drain_seconds, settings.workers, settings.port, settings.log_level) == (0, 2, 9000, "debug")


@pytest.mark.parametrize(
    ("variable", "text", "hint"),
    [
        ("DRAIN_SECONDS", "soon", "valid integer"),
        ("DRAIN_SECONDS", "-1", "greater than or equal to 0"),
        ("DRAIN_SECONDS", "301", "less than or equal to 300"),
        ("PORT", "70000", "less than or equal to 65535"),
        ("WORKERS", "0", "greater than or equal to 1"),
        ("IMAGE_PULL_POLICY", "Sometimes", "'Always', 'IfNotPresent' or 'Never'"),
        ("LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("PROMETHEUS_ADDRESS", "prometheus:9090", "match pattern"),
        ("PROMETHEUS_ADDRESS", "http://prometheus 9090", "match pattern"),
    ],
)
def test_a_bad_value_names_its_variable_and_what_it_may_be(variable: str, text: str, hint: str) -> None:
    with pytest.raises(SettingsError) as raised:
        Settings.from_environment({PREFIX + variable: text})

    assert str(raised.value).startswith(f"{PREFIX}{variable}: ")
    assert hint in str(raised.value)


def test_hosts_that_gates_may_ask_stand_with_commas_between() -> None:
    settings = Settings.from_environment({f"{PREFIX}GATE_ALLOWED_HOSTS": "judge.ml.svc, *.example.com,10.0.0.7:8443"})

    assert settings.gate_allowed_hosts == ("judge.ml.svc", "*.example.com", "10.0.0.7:8443")


@pytest.mark.parametrize("text", ["*", "http://judge.example", "judge.example/path", "*judge.example", "judge:port"])
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=f"^{PREFIX}GATE_ALLOWED_HOSTS_0: .* match pattern"):
        Settings.from_environment({f"{PREFIX}GATE_ALLOWED_HOSTS": text})


def test_an_unknown_variable_is_named() -> None:
    with pytest.raises(SettingsError, match=f"^{PREFIX}DRAIN_SECOND is not a setting of this operator; remove it"):
        Settings.from_environment({f"{PREFIX}DRAIN_SECOND": "5"})


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(SettingsError, match=f"{PREFIX}PORT: .*; {PREFIX}WORKERS: |{PREFIX}WORKERS: .*; {PREFIX}PORT: "):
        Settings.from_environment({f"{PREFIX}PORT": "0", f"{PREFIX}WORKERS": "none"})
