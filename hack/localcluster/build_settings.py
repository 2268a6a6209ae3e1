"""What a build of an image must know of this machine: where pip and apt find packages, whom TLS trusts. Pure.

It reaches the build as secrets, so it is in no image and in no repository.
"""

import configparser
from collections.abc import Iterable, Mapping

PIP_NAMES = ("index-url", "extra-index-url", "find-links", "trusted-host", "proxy", "timeout", "retries")
APT_NAMES = ("Acquire::http::", "Acquire::https::", "Acquire::Check-", "Acquire::Retries ")
CA_IN_BUILD = "/run/secrets/ca"


def build_pip_settings(environment: Mapping[str, str], files: Iterable[str], *, has_ca: bool) -> str:
    """Join the texts of this machine's pip.conf files and ``PIP_…`` variables into one pip.conf; the last one wins."""
    found: dict[str, str] = {}
    for text in files:
        parser = configparser.RawConfigParser()
        parser.read_string(text)
        for section in ("global", "install"):
            found |= parser[section] if parser.has_section(section) else {}
    variables = {name.removeprefix("PIP_").lower().replace("_", "-"): value for name, value in environment.items()}
    found |= {
        name: value for name, value in variables.items() if f"PIP_{name.upper().replace('-', '_')}" in environment
    }
    found = {name.removeprefix("default-"): value for name, value in found.items()}
    lines = [
        f"{name} = {_indent(found[name])}" for name in PIP_NAMES if found.get(name) and _is_seen(name, found[name])
    ]
    if has_ca:
        lines.append(f"cert = {CA_IN_BUILD}")
    return "\n".join(["[global]", "disable-pip-version-check = true", *lines]) + "\n"


def build_apt_settings(dump: str) -> str:
    """Choose from the output of ``apt-config dump`` what says how to reach mirrors."""
    return "".join(f"{line}\n" for line in dump.splitlines() if line.startswith(APT_NAMES))


def _is_seen(name: str, value: str) -> bool:
    """Leave folders of this machine out: the build does not see them."""
    return name != "find-links" or "://" in value


def _indent(value: str) -> str:
    return value.replace("\n", "\n  ")
