"""Settings: from the environment, with a sentence for what does not fit, and described in the documentation."""

import dataclasses
from pathlib import Path

import pytest

from modelendpoint_server.errors import InvalidSettings
from modelendpoint_server.settings import LogFormat, NonFinite, Settings, describe_settings, http_threads

URI = {"MODELENDPOINT_MODEL_URI": "s3://models/churn.onnx"}


def test_what_the_operator_sets_is_read() -> None:
    settings = Settings.from_environment(
        {
            **URI,
            "MODELENDPOINT_NAME": "churn",
            "MODELENDPOINT_NAMESPACE": "demo",
            "MODELENDPOINT_REVISION": "7",
            "MODELENDPOINT_MODEL_VERSION": "",
            "MODELENDPOINT_MODEL_SHA256": "",
            "MODELENDPOINT_PORT": "8080",
            "MODELENDPOINT_MANAGEMENT_PORT": "8081",
            "MODELENDPOINT_MODEL_DIR": "/models",
            "HOME": "/models",
        }
    )
    assert (settings.name, settings.revision, settings.port) == ("churn", "7", 8080)
    assert settings.model_dir == Path("/models")


def test_every_kind_of_value_is_read() -> None:
    settings = Settings.from_environment(
        {
            **URI,
            "MODELENDPOINT_EXECUTION_PROVIDERS": "A, B",
            "MODELENDPOINT_NON_FINITE": "Allow",
            "MODELENDPOINT_LOG_FORMAT": "text",
            "MODELENDPOINT_FAST_PATH": "False",
            "MODELENDPOINT_REQUEST_TIMEOUT_SECONDS": "0.5",
        }
    )
    assert settings.execution_providers == ("A", "B")
    assert settings.non_finite is NonFinite.ALLOW
    assert settings.log_format is LogFormat.TEXT
    assert settings.fast_path is False
    assert settings.request_timeout_seconds == 0.5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"MODELENDPOINT_NON_FINITE": "maybe"}, "'maybe'; Reject or Allow is expected"),
        ({"MODELENDPOINT_PORT": "1.5"}, "a whole number is expected"),
        ({"MODELENDPOINT_FAST_PATH": "perhaps"}, "true or false is expected"),
        ({"MODELENDPOINT_DRAIN_SECONDS": "soon"}, "a number is expected"),
        ({"MODELENDPOINT_THREADS": "1"}, "Unknown variable MODELENDPOINT_THREADS"),
        ({"MODELENDPOINT_MODEL_URI": ""}, "is not set"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_variables_name(changes: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidSettings, match=words) as caught:
        Settings.from_environment({**URI, **changes})
    assert next(iter(changes)) in str(caught.value)


def test_vertex_ai_says_where_the_model_is_and_which_routes_it_wants() -> None:
    settings = Settings.from_environment(
        {
            "AIP_STORAGE_URI": "gs://bucket/model",
            "AIP_HTTP_PORT": "9000",
            "AIP_PREDICT_ROUTE": "/p",
            "AIP_HEALTH_ROUTE": "/h",
        }
    )
    assert (settings.model_uri, settings.port) == ("gs://bucket/model", 9000)
    assert (settings.vertex_predict_route, settings.vertex_health_route) == ("/p", "/h")


def test_every_setting_is_described_in_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "server-api.md").read_text()
    assert page.endswith(describe_settings()), "write describe_settings() to the end of docs/server-api.md"
    assert len(describe_settings().splitlines()) == len(dataclasses.fields(Settings)) + 2


@pytest.mark.parametrize(("cores", "threads"), [(1, 4), (2, 4), (6, 12), (64, 16)])
def test_threads_follow_the_cores(cores: int, threads: int) -> None:
    assert http_threads(Settings(model_uri="file:///m"), cores) == threads
