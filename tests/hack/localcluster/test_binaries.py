"""Which version a tool has, and when it is built again."""

import re
from pathlib import Path

import pytest

from localcluster import binaries
from localcluster.binaries import (
    OTHER_MINOR,
    Release,
    Source,
    build_key,
    describe_progress,
    find_release,
    find_version,
)
from localcluster.commands import ClusterError
from localcluster.folders import TOOLS, Cache
from localcluster.golang import NEEDED, parse_version

GO_MOD = """module example.org/tools

go 1.26.0

require example.org/alone v1.2.3

require (
\texample.org/tool/v2 v2.0.1 // indirect
\texample.org/tool/v2/api v9.9.9 // indirect
)

replace example.org/tool/v2/api => example.org/other v0.0.1
"""

OTHERS = [find_release(path.name.removeprefix(OTHER_MINOR)) for path in sorted(TOOLS.glob(f"{OTHER_MINOR}*"))]
OF_OTHERS = [source for release in OTHERS for source in (release.programs, release.kubeadm)]
ALL = (*binaries.NODE, *binaries.KIND_NODE, *binaries.PEOPLE, binaries.VERSITYGW, *OF_OTHERS)


@pytest.mark.parametrize(
    ("module", "version"),
    [("example.org/tool/v2", "2.0.1"), ("example.org/tool/v2/api", "9.9.9"), ("example.org/alone", "1.2.3")],
)
def test_the_version_is_the_one_that_go_mod_requires(module: str, version: str) -> None:
    assert find_version(GO_MOD, module) == version


def test_a_module_that_is_not_required_is_named() -> None:
    with pytest.raises(ClusterError, match=r"example\.org/tool"):
        find_version(GO_MOD, "example.org/tool")


def test_a_build_is_known_by_its_module_files_and_flags() -> None:
    files = {"go.mod": b"one", "go.sum": b"two"}
    assert build_key(files, "-s") == build_key(dict(reversed(files.items())), "-s")
    others = [
        build_key({**files, "go.sum": b"three"}, "-s"),
        build_key(files, "-w"),
        build_key({"go.mod": b"one"}, "-s"),
    ]
    assert len({build_key(files, "-s"), *others}) == 4


@pytest.mark.parametrize("source", ALL, ids=lambda source: f"{source.name}-{len(source.packages)}")
def test_every_tool_has_a_module_that_pins_it(source: Source) -> None:
    assert source.version
    go_mod = (source.folder / "go.mod").read_text()
    assert f"\ngo {NEEDED[0]}.{NEEDED[1]}." in go_mod
    if source.module:
        assert f"{source.module} v{source.version} h1:" in (source.folder / "go.sum").read_text()


@pytest.mark.parametrize("release", [Release(), *OTHERS], ids=lambda release: release.version)
def test_all_programs_and_libraries_of_a_kubernetes_are_of_its_version(release: Release) -> None:
    assert release.kubeadm.version == release.version
    for source in (release.programs, release.kubeadm):
        released_with_it = re.findall(
            r"=> k8s\.io/\S+ v0\.(\S+)$", (source.folder / "go.mod").read_text(), re.MULTILINE
        )
        assert set(released_with_it) == {release.version.removeprefix("1.")}


def test_the_minors_that_can_be_built_are_named_when_another_is_asked_for() -> None:
    with pytest.raises(
        ClusterError, match=r"no Kubernetes `1.2` (.|\n)*1.30, .*1.34. `hack/pin-kubernetes 1.x.y` adds"
    ):
        find_release("1.2")
    assert find_release("1.34") == find_release("") == Release()


def test_only_the_usual_kubernetes_is_what_people_find_on_their_path() -> None:
    assert Release().programs.is_linked
    assert not any(source.is_linked for source in OF_OTHERS)


def test_kubernetes_is_told_its_version_or_it_would_call_itself_v0() -> None:
    assert f"gitVersion=v{binaries.KUBERNETES.version}" in binaries.KUBERNETES.linker_flags


def test_what_is_built_is_taken_without_waiting_for_another_build(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    built = binaries.binary(cache, binaries.PAUSE, "pause")
    built.parent.mkdir(parents=True)
    built.touch()
    key = build_key({path.name: path.read_bytes() for path in binaries.PAUSE.folder.iterdir()}, "-s -w")
    built.with_name("build-key").write_text(key)
    (cache.bin / "pause").symlink_to(built)
    binaries.ensure_binaries(cache, [binaries.PAUSE])
    assert not (cache.bin / ".lock").exists()


def test_kubectl_alone_is_the_same_build_as_with_the_rest() -> None:
    assert binaries.KUBECTL.linker_flags == binaries.KUBERNETES.linker_flags
    assert binaries.KUBECTL.packages.items() <= binaries.KUBERNETES.packages.items()


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "started"),
        (["go: downloading a v1\n", "go: downloading b v1\n"], "2 modules downloaded"),
        (["go: downloading a v1\n", "internal/cpu\n", "fmt\n"], "2 packages compiled"),
    ],
)
def test_progress_counts_what_go_names(lines: list[str], said: str) -> None:
    assert describe_progress(lines) == said


@pytest.mark.parametrize(
    ("text", "version"),
    [("go version go1.26.8 linux/amd64", (1, 26)), ("go version go1.9 linux/arm64", (1, 9)), ("sh: go: none", (0, 0))],
)
def test_gos_version_is_read(text: str, version: tuple[int, int]) -> None:
    assert parse_version(text) == version
