"""The terminal prints the commands that it runs, and stops when one fails."""

import io
import itertools
from pathlib import Path

import pytest

from demo.terminal import DemoFailed, Terminal


def a_terminal(folder: Path) -> tuple[Terminal, io.StringIO]:
    out = io.StringIO()
    return Terminal(environment={"PATH": "/usr/bin:/bin", "WORD": "hello"}, folder=folder, out=out), out


def test_a_command_is_shown_run_and_its_answer_printed(tmp_path: Path) -> None:
    terminal, out = a_terminal(tmp_path)
    assert terminal.run('echo "$WORD"; pwd') == f"hello\n{tmp_path}\n"
    assert out.getvalue() == f'  $ echo "$WORD"; pwd\n  hello\n  {tmp_path}\n'


def test_a_log_gets_no_details_of_a_long_command_that_is_soon_done(tmp_path: Path) -> None:
    terminal, out = a_terminal(tmp_path)
    assert terminal.run_long("echo building; echo '  step 1'; echo built") == "building\n  step 1\nbuilt\n"
    assert out.getvalue().splitlines()[1:] == ["  building", "  built"]


def test_a_log_gets_a_detail_after_half_a_minute_of_silence(tmp_path: Path) -> None:
    out, times = io.StringIO(), itertools.count(step=10)
    terminal = Terminal(environment={"PATH": "/usr/bin:/bin"}, folder=tmp_path, out=out, clock=lambda: next(times))
    terminal.run_long('for step in 1 2 3 4 5 6 7 8; do echo "  step $step"; done')
    assert out.getvalue().splitlines()[1:] == ["    step 3", "    step 6"]


def test_a_long_command_that_fails_shows_its_last_details(tmp_path: Path) -> None:
    terminal, out = a_terminal(tmp_path)
    with pytest.raises(DemoFailed, match="exit code 1"):
        terminal.run_long("echo '  no space left'; exit 1")
    assert "no space left\n" in out.getvalue()


def test_what_a_failed_long_command_has_said_is_shown_once(tmp_path: Path) -> None:
    terminal, out = a_terminal(tmp_path)
    with pytest.raises(DemoFailed):
        terminal.run_long("echo no Docker; echo '  CLUSTER=node needs none'; exit 1")
    assert out.getvalue().splitlines()[1:] == ["  no Docker", "    CLUSTER=node needs none"]


def test_a_failing_command_stops_the_demo_and_is_named(tmp_path: Path) -> None:
    terminal, out = a_terminal(tmp_path)
    with pytest.raises(DemoFailed, match="exit code 3: echo no; exit 3"):
        terminal.run("echo no; exit 3")
    assert "no\n" in out.getvalue()


def test_a_failure_inside_a_pipe_is_seen(tmp_path: Path) -> None:
    terminal, _ = a_terminal(tmp_path)
    with pytest.raises(DemoFailed):
        terminal.run("false | cat")


def test_long_answers_are_shortened_on_the_screen_only(tmp_path: Path) -> None:
    terminal, out = a_terminal(tmp_path)
    assert terminal.run("printf 1234567890", most_characters=4) == "1234567890"
    assert "1234…\n" in out.getvalue()


def test_an_export_is_there_for_later_commands(tmp_path: Path) -> None:
    terminal, out = a_terminal(tmp_path)
    assert terminal.export("GREETING", "$(echo $WORD) world") == "hello world"
    assert terminal.run("echo $GREETING") == "hello world\n"
    assert '$ export GREETING="$(echo $WORD) world"' in out.getvalue()


def test_a_quiet_program_gets_its_input_and_returns_its_output(tmp_path: Path) -> None:
    terminal, out = a_terminal(tmp_path)
    assert terminal.quietly("cat", stdin="abc") == "abc"
    assert out.getvalue() == ""
    with pytest.raises(DemoFailed, match="no-such-file"):
        terminal.quietly("cat", "no-such-file")


def test_a_background_command_lives_as_long_as_its_block(tmp_path: Path) -> None:
    terminal, _ = a_terminal(tmp_path)
    command = "bash -c 'echo $$ > pid; echo ready; sleep 60'"
    with terminal.background(command, ready="ready"):
        pid = int((tmp_path / "pid").read_text())
        assert Path(f"/proc/{pid}").exists()
    assert not Path(f"/proc/{pid}").exists()


def test_a_background_command_that_ends_before_it_is_ready_stops_the_demo(tmp_path: Path) -> None:
    terminal, _ = a_terminal(tmp_path)
    with pytest.raises(DemoFailed, match="no port"), terminal.background("echo no port", ready="Forwarding"):
        pass


def test_steps_carry_their_number_and_the_time(tmp_path: Path) -> None:
    terminal, out = a_terminal(tmp_path)
    terminal.step(2, 7, "Install the operator")
    assert out.getvalue() == "\n[2/7] Install the operator  (0:00)\n"
