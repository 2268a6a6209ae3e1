"""The verbs of a rollout: ``mep promote``, ``abort``, ``retry`` and the others, given to an endpoint."""

import click

from modelendpoint.commands.place import Place, place_options
from modelendpoint.endpoints import Endpoints, Seen, choose, find, wait_for
from modelendpoint.errors import TimedOut
from modelendpoint.orders import Given, give, give_to_run, waits_for_a_pause
from modelendpoint_operator import names

ANSWER_SECONDS = 10.0
KEPT_SECONDS = 3.0
"""A promote in a step that only a gate holds up is answered at once; after that it waits for a pause."""

_HELP = {
    "promote": "Go on from a pause of a rollout.",
    "promote-full": "Give a candidate all traffic now, without the steps that are left.",
    "abort": "End a rollout: all traffic stays with the stable revision.",
    "retry": "Try a rejected revision, or a failed batch prediction, again.",
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
    seen = _choose(there, word, name)
    body = seen["object"]
    kind, name = str(body["kind"]), str(body["metadata"]["name"])
    known = {event["id"] for event in there.events(kind, name)}
    order = give_to_run(body, word) if kind == names.BATCH_KIND else give(body, word, revision=revision)
    there.annotate(seen, order)
    is_kept = waits_for_a_pause(body, order)
    seconds = KEPT_SECONDS if is_kept else ANSWER_SECONDS
    if not wait_for(there, lambda now: _is_answered(now, order), name=name, seconds=seconds):
        if is_kept:
            click.echo(
                f"{name}: {order.subject} will not stop at its next pause. Nothing holds it now, and its steps go on by"
                f" themselves; `mep promote-full` skips what is left of them."
            )
            return
        raise TimedOut(f"{name} has not answered within {ANSWER_SECONDS:.0f} s. `mep get {name}` shows it.")
    told = [str(event["message"]) for event in there.events(kind, name) if event["id"] not in known]
    click.echo("\n".join(told) or f"{name}: {word} of {order.subject}")


def _choose(there: Endpoints, word: str, name: str | None) -> Seen:
    return find(there, name) if word == "retry" else choose(there.endpoints(), name)


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
