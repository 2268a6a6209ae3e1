"""What the operator says to people, in the commands of this machine: its messages name kubectl, which nobody has here. Pure."""

import re

from modelendpoint_operator import names

_ENDPOINT = re.compile(rf"kubectl annotate mep (\S+) -n \S+ --overwrite {re.escape(names.GROUP)}/([a-z-]+)=([0-9]+)")
_BATCH = re.compile(rf"kubectl annotate bp (\S+) -n \S+ --overwrite {re.escape(names.ANNOTATION_RETRY)}=[0-9]+")
_LOG = re.compile(r"kubectl logs (\S+?)-(?:plan|work|finish)(?:-[0-9]+)+-[0-9a-f]{6}\b")


def in_our_commands(text: str) -> str:
    """Put ``mep`` in place of the kubectl commands of a text; whatever else is in it stays."""
    text = _ENDPOINT.sub(r"mep \2 \1 --revision \3", text)
    return _LOG.sub(r"mep logs \1", _BATCH.sub(r"mep retry \1", text))
