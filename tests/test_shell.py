"""shell: one command's output, whatever the command does; and nothing left behind."""

import os

import pytest

from labkit import procfs
from labkit.shell import Shell, ShellError


@pytest.fixture
def shell():
    with Shell(timeout=20) as shell:
        yield shell


def test_run_returns_the_text_of_that_command_alone(shell):
    assert shell.run("echo one") == "one\n"
    assert shell.run("echo two; echo three >&2") == "two\nthree\n"
    assert shell.run("true") == ""


def test_no_newline_at_the_end(shell):
    assert shell.run("printf abc") == "abc"


def test_ten_megabytes(shell):
    text = shell.run("head -c 10000000 /dev/zero | tr '\\0' x", timeout=60)
    assert len(text) == 10_000_000
    assert set(text) == {"x"}


def test_a_command_that_reads(shell):
    assert shell.run("read name; echo hello $name", input="world\n") == "hello world\n"
    assert shell.run("cat", input="one\ntwo\n\x04") == "one\ntwo\n"


def test_a_command_that_ends_the_shell(shell):
    assert shell.run("echo bye; exit 7") == "bye\n"
    assert shell.status == 7
    with pytest.raises(ShellError, match="has ended with status 7"):
        shell.run("echo")


def test_the_end_is_seen_though_the_background_holds_the_terminal(shell):
    shell.run("sleep 100 &")
    shell.run("exit 3", timeout=10)
    assert shell.status == 3


def test_a_signal_counts_from_128(shell):
    shell.run("kill -9 $$")
    assert shell.status == 137


def test_a_time_out_shows_the_screen_and_the_shell_goes_on(shell):
    with pytest.raises(TimeoutError, match=r"(?s)'echo here; cat' showed no prompt.*here"):
        shell.run("echo here; cat", timeout=0.5)
    assert shell.run("echo again") == "again\n"


@pytest.mark.parametrize("command", ["echo a\necho b", "x" * 4096])
def test_what_a_terminal_would_not_take_as_one_line(shell, command):
    with pytest.raises(ValueError, match="one line"):
        shell.run(command)


def test_the_prompt_reaches_a_shell_inside(shell):
    assert shell.run("/bin/sh") == ""
    assert shell.run("echo inside") == "inside\n"


def test_bytes_that_are_no_text(shell):
    assert shell.run(r"printf '\377\n'") == "�\n"
    assert shell.run("echo ü€🙂") == "ü€🙂\n"


def test_no_process_is_left(shell):
    with Shell() as other:
        other.run("sleep 1000 &")
        other.run("setsid nohup sleep 1000 >/dev/null 2>&1 &")
        entry = f"LABKIT_SHELL={other._token}"
        while len(procfs.with_environment(entry)) < 3:
            pass  # setsid is still on its way
    assert procfs.with_environment(entry) == []


def test_the_users_start_up_files_are_not_read(monkeypatch, tmp_path):
    (tmp_path / "profile").write_text("echo unwanted\n")
    monkeypatch.setenv("ENV", str(tmp_path / "profile"))
    with Shell() as shell:
        assert shell.run("echo ok") == "ok\n"


def test_what_cannot_be_started():
    with pytest.raises(ShellError, match="cannot start '/no/such'"):
        Shell(["/no/such"])
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ShellError, match="ended with status 0"):
        Shell(["/bin/true"])
    assert len(os.listdir("/proc/self/fd")) == before


def test_show_prints_as_a_terminal_would(shell, capsys):
    shell.show("echo one", "true", "printf two")
    assert capsys.readouterr().out == "$ echo one\none\n$ true\n$ printf two\ntwo\n"


def test_a_command_that_shows_the_prompt_itself(shell):
    assert "done" in shell.run("env | grep ^PS1; sleep 0.3; echo done")
    assert shell.run("echo one") == "one\n"


def test_pipes_end_quietly(shell):
    assert shell.run("yes | head -n 1") == "y\n"
