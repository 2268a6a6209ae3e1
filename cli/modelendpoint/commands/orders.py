"""The verbs of a rollout: ``mep promote``, ``abort``, ``retry`` and the others, given to the instance that runs here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from modelendpoint.commands.state import state_option
from modelendpoint.errors import TimedOut
from modelendpoint.local.client import Client
from modelendpoint.local.orders import Given, give

ANSWER_SECONDS = 10.0

_HELP = {
    "promote": "Go on to the next step of a rollout.",
    "promote-full": "Give a candidate all traffic now, without the steps that are left.",
    "abort": "End a rollout: all traffic stays with the stable revision.",
    "retry": "Try a rejected revision again.",
    "pause": "Stay in the step that a rollout is in.",
    "resume": "Go on with a rollout that was paused.",
    "rollback-to": "Go back to a revision that has served before.",
}


def _command(word: str, *, name: str | None = None) -> click.Command:
    @click.command(
        name or word, help=f"{_HELP[word]}\n\n\b\n  mep {name or word}\n  mep {name or word} churn --revision 2"
    )
    @click.argument("endpoint", required=False)
    @click.option("--revision", type=click.IntRange(min=1), help="The revision that is meant, if not the obvious one.")
    @state_option
    def order(endpoint: str | None, revision: int | None, state: Path | None) -> None:
        _give(word, endpoint, revision, state)

    return order


def _give(word: str, name: str | None, revision: int | None, state: Path | None) -> None:
    client = Client.find(Path.cwd(), given=state)
    before = client.snapshot()
    body = client.endpoint(name)["object"]
    order = give(body, word, revision=revision)
    client.annotate(body, order)
    endpoint = str(body["metadata"]["name"])
    if not client.wait_for(lambda seen: _is_answered(seen, order), name=endpoint, seconds=ANSWER_SECONDS):
        raise TimedOut(f"{endpoint} has not answered within {ANSWER_SECONDS:.0f} s. `mep get {endpoint}` shows it.")
    known = {event["id"] for event in before["events"]}
    told = [
        event for event in client.snapshot()["events"] if event["endpoint"] == endpoint and event["id"] not in known
    ]
    click.echo("\n".join(event["message"] for event in told) or f"{endpoint}: {word} of revision {order.revision}")


def _is_answered(endpoint: Mapping[str, Any], order: Given) -> bool:
    handled = endpoint["object"].get("status", {}).get("handledAnnotations") or {}
    return bool(handled.get(order.annotation) == order.value)


promote = _command("promote")
promote_full = _command("promote-full")
abort = _command("abort")
retry = _command("retry")
pause = _command("pause")
resume = _command("resume")
rollback_to = _command("rollback-to")
undo = _command("rollback-to", name="undo")
