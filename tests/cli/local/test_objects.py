"""The objects of an instance."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from modelendpoint.local.objects import Key, Object, ObjectStore

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CHURN = Key("ModelEndpoint", "default", "churn")


def an_endpoint(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "modelendpoint.dev/v1alpha1",
        "kind": "ModelEndpoint",
        "metadata": {"namespace": "default", "name": "churn"},
        "spec": spec,
    }


def a_child(owner: Object, *, kind: str = "ConfigMap", name: str = "churn-r1") -> dict[str, Any]:
    references = [{"kind": "ModelEndpoint", "name": "churn", "uid": owner["metadata"]["uid"]}]
    return {"kind": kind, "metadata": {"namespace": "default", "name": name, "ownerReferences": references}}


def test_a_changed_spec_is_a_new_generation_of_the_same_object(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    first = store.apply(an_endpoint(replicas=1), now=NOW)
    same = store.apply(an_endpoint(replicas=1), now=NOW)
    other = store.apply(an_endpoint(replicas=2), now=NOW)
    assert [body["metadata"]["generation"] for body in (first, same, other)] == [1, 1, 2]
    assert len({body["metadata"]["uid"] for body in (first, same, other)}) == 1


def test_applying_keeps_status_and_orders(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    body = store.apply(an_endpoint(replicas=1), now=NOW)
    store.set_status(CHURN, uid=body["metadata"]["uid"], status={"replicas": 1})
    assert store.annotate(CHURN, {"modelendpoint.dev/promote": "2"})
    again = store.apply(an_endpoint(replicas=2), now=NOW)
    assert again["status"] == {"replicas": 1}
    assert again["metadata"]["annotations"] == {"modelendpoint.dev/promote": "2"}


def test_the_status_of_an_endpoint_that_was_made_anew_is_not_written_by_the_old_one(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    body = store.apply(an_endpoint(replicas=1), now=NOW)
    store.set_status(CHURN, uid="another", status={"replicas": 1})
    assert store.get("ModelEndpoint", "default", "churn") == body
    assert not store.annotate(CHURN._replace(name="nobody"), {"a": "b"})


def test_objects_outlive_the_process_but_secrets_do_not(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    body = store.apply(an_endpoint(replicas=1), now=NOW)
    store.apply(
        {"kind": "Secret", "metadata": {"namespace": "default", "name": "models"}, "stringData": {"KEY": "hidden"}},
        now=NOW,
    )
    again = ObjectStore(tmp_path)
    assert again.list_all() == [body]
    assert store.get("Secret", "default", "models") is not None
    assert all(b"hidden" not in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_what_belongs_to_an_object_goes_with_it(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    owner = store.apply(an_endpoint(replicas=1), now=NOW)
    store.apply(a_child(owner), now=NOW)
    store.apply({"kind": "ConfigMap", "metadata": {"namespace": "default", "name": "models"}}, now=NOW)
    assert [body["metadata"]["name"] for body in store.owned(owner["metadata"]["uid"])] == ["churn-r1"]
    store.delete(Key("ModelEndpoint", "default", "churn"))
    assert [body["metadata"]["name"] for body in store.list_all()] == ["models"]
    assert [body["metadata"]["name"] for body in ObjectStore(tmp_path).list_all()] == ["models"]


def test_an_object_of_another_identity_is_not_deleted(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    body = store.apply(an_endpoint(replicas=1), now=NOW)
    store.delete(Key("ModelEndpoint", "default", "churn"), uid="another")
    assert store.list_all() == [body]


def test_whoever_listens_hears_of_every_write(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    heard: list[str] = []
    store.listen(lambda body: heard.append(body["metadata"]["name"]))
    owner = store.apply(an_endpoint(replicas=1), now=NOW)
    store.apply(a_child(owner), now=NOW)
    store.delete(Key("ModelEndpoint", "default", "churn"))
    assert heard == ["churn", "churn-r1", "churn-r1", "churn"]
