"""The verbs of a rollout: ``mep promote``, ``abort``, ``retry`` and the others, given to an endpoint."""

import click

from modelendpoint.commands.place import Place, place_options
from modelendpoint.endpoints import Seen, choose, wait_for
from modelendpoint.errors import TimedOut
from modelendpoint.orders import Given, give

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
    @place_options
    def order(endpoint: str | None, revision: int | None, place: Place) -> None:
        _give(word, endpoint, revision, place)

    return order


def _give(word: str, name: str | None, revision: int | None, place: Place) -> None:
    there = place.open()
    seen = choose(there.endpoints(), name)
    endpoint = str(seen["object"]["metadata"]["name"])
    known = {event["id"] for event in there.events(endpoint)}
    order = give(seen["object"], word, revision=revision)
    there.annotate(seen, order)
    if not wait_for(there, lambda now: _is_answered(now, order), name=endpoint, seconds=ANSWER_SECONDS):
        raise TimedOut(f"{endpoint} has not answered within {ANSWER_SECONDS:.0f} s. `mep get {endpoint}` shows it.")
    told = [str(event["message"]) for event in there.events(endpoint) if event["id"] not in known]
    click.echo("\n".join(told) or f"{endpoint}: {word} of revision {order.revision}")


def _is_answered(endpoint: Seen, order: Given) -> bool:
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
