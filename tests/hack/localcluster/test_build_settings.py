"""What a build is told of this machine."""

from localcluster.build_settings import build_apt_settings, build_pip_settings


def lines(environment: dict[str, str], *files: str, has_ca: bool = False) -> list[str]:
    return build_pip_settings(environment, files, has_ca=has_ca).splitlines()


def test_a_plain_machine_has_nothing_to_say() -> None:
    assert lines({"PATH": "/bin", "PIPELINE": "x"}) == ["[global]", "disable-pip-version-check = true"]


def test_variables_win_over_files() -> None:
    file = "[global]\ntimeout = 5\nindex-url = https://mirror.example/simple\n"
    said = lines({"PIP_DEFAULT_TIMEOUT": "180"}, file)
    assert "index-url = https://mirror.example/simple" in said
    assert "timeout = 180" in said


def test_folders_of_this_machine_are_left_out_as_the_build_does_not_see_them() -> None:
    assert not any("wheels" in line for line in lines({"PIP_FIND_LINKS": "/opt/wheels"}))
    assert "find-links = https://wheels.example/" in lines({"PIP_FIND_LINKS": "https://wheels.example/"})


def test_this_machines_trust_is_at_the_place_where_the_build_has_it() -> None:
    said = lines({"PIP_CERT": "/home/me/ca.pem"}, "[global]\ncert = /etc/ca.pem\n", has_ca=True)
    assert [line for line in said if "cert" in line] == ["cert = /run/secrets/ca"]


def test_several_indexes_stay_several() -> None:
    said = build_pip_settings(
        {}, ["[global]\nextra-index-url =\n  https://a.example\n  https://b.example\n"], has_ca=False
    )
    assert "extra-index-url = \n  https://a.example\n  https://b.example\n" in said


def test_only_what_says_how_to_reach_mirrors_is_taken_from_apt() -> None:
    dump = 'APT::Architecture "amd64";\nAcquire::http::Proxy "http://p:1";\nAcquire::Check-Date "false";\nDir "/";\n'
    assert build_apt_settings(dump) == 'Acquire::http::Proxy "http://p:1";\nAcquire::Check-Date "false";\n'
