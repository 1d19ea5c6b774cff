"""shell: one command's output, whatever the command does; and nothing left behind."""

import os
import re
import signal
import threading

import pytest

from labkit import procfs
from labkit.shell import Shell, ShellError
from tests.helpers.processes import until
from tests.helpers.terminals import many_descriptors


@pytest.fixture
def shell():
    with Shell(timeout=120) as shell:
        yield shell


def test_run_returns_the_text_of_that_command_alone(shell):
    assert shell.run("echo one") == "one\n"
    assert shell.run("echo two; echo three >&2") == "two\nthree\n"
    assert shell.run("true") == ""


def test_no_newline_at_the_end(shell):
    assert shell.run("printf abc") == "abc"


def test_ten_megabytes(shell):
    shell.timeout = 120
    text = shell.run("head -c 10000000 /dev/zero | tr '\\0' x")
    assert len(text) == 10_000_000
    assert set(text) == {"x"}


def test_a_command_that_reads(shell):
    shell.send("read name; echo hello $name\rworld\r")
    assert shell.wait().endswith("\nhello world\n")
    shell.send("cat\rone\rtwo\r\x04")
    assert shell.wait().endswith("\none\ntwo\n")


def test_a_command_that_ends_the_shell(shell):
    assert shell.run("echo bye; exit 7") == "bye\n"
    assert shell.status == 7
    with pytest.raises(ShellError, match="has ended with status 7"):
        shell.run("echo")


def test_the_end_is_seen_though_the_background_holds_the_terminal(shell):
    shell.run("sleep 100 &")
    shell.run("exit 3")
    assert shell.status == 3


def test_the_end_is_seen_though_the_background_goes_on_printing(shell):
    shell.run("yes & exit 3")
    assert shell.status == 3


def test_a_signal_counts_from_128(shell):
    shell.run("kill -9 $$")
    assert shell.status == 137


def test_a_time_out_shows_the_screen_and_the_shell_goes_on(shell):
    with pytest.raises(TimeoutError, match=r"(?s)'echo here; cat' showed no prompt.*here"):
        shell.timeout = 0.5
        shell.run("echo here; cat")
    shell.timeout = 120
    assert shell.run("echo again") == "again\n"


@pytest.mark.parametrize(
    "command", ["echo a\necho b", "x" * 4096, "echo \x03", "echo \x1b[A", "echo a\tb"]
)
def test_what_a_terminal_would_not_take_as_one_line(shell, command):
    with pytest.raises(ValueError, match="one line"):
        shell.run(command)


def test_an_interrupt_ends_the_command_that_was_waited_for(shell):
    def interrupt():
        until(lambda: running(shell, "cat"))
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        shell.run("cat")
    thread.join()
    assert shell.run("echo free") == "free\n"


def test_a_prompt_that_is_still_on_its_way_is_waited_for(shell):
    for _ in range(20):
        shell.send("yes\r")
        until(lambda: len(printed(shell).rpartition("$ ")[2]) > 100)  # it floods
        shell.send("\x03")
        assert shell.run("echo one") == "one\n"


def test_what_was_printed_and_not_read_yet_is_waited_for(shell):
    for _ in range(20):
        shell.send("yes\r")
        until(lambda: running(shell, "yes"))
        shell.send("\x03")
        assert shell.run("echo one") == "one\n"


def test_the_prompt_reaches_a_shell_inside(shell):
    assert shell.run("/bin/sh") == ""
    assert shell.run("echo inside") == "inside\n"


def test_bytes_that_are_no_text(shell):
    assert shell.run(r"printf '\377\n'") == "�\n"
    assert shell.run("echo ü€🙂") == "ü€🙂\n"


def test_no_process_is_left(shell):
    with Shell() as other:
        entry = "LABKIT_SHELL=" + other.run("echo $LABKIT_SHELL").strip()
        other.run("sleep 1000 &")
        other.run("setsid nohup sleep 1000 >/dev/null 2>&1 &")
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
    assert "done" in shell.run("set; export -p; echo done")
    assert shell.run("echo one") == "one\n"


def test_pipes_end_quietly(shell):
    assert shell.run("yes | head -n 1") == "y\n"


def running(shell, name):
    """Whether a program of this name was started below the shell."""
    return name in [process.name for _, process in procfs.tree(shell.pid)]


def heard(shell):
    """What a listener heard, as text; `ended` when it was told of the end."""
    pieces, ended = [], threading.Event()
    shell.listen(lambda data: ended.set() if data is None else pieces.append(data))
    return lambda: b"".join(pieces).decode(), ended


def printed(shell):
    """All that the terminal has printed so far."""
    pieces: list[bytes] = []
    shell.listen(pieces.append)()
    return pieces[0].decode()


def test_what_was_typed_is_shown_on_the_terminal_and_not_returned(shell):
    text, _ = heard(shell)
    assert shell.run("echo one") == "one\n"
    assert re.sub(r"\x1b]133;A;\w+\x07", "", text()) == "$ echo one\r\none\r\n$ "


def test_who_listens_late_hears_what_was_printed_before(shell):
    shell.run("echo early")
    text, _ = heard(shell)
    assert "early\r\n" in text()


def test_a_listener_hears_each_byte_once_and_then_the_end(shell):
    shell.run("head -c 300000 /dev/zero | tr '\\0' x; echo")
    text, ended = heard(shell)
    assert 190_000 < text().count("x") <= 200_000
    shell.timeout = 120
    shell.run("seq 20000")
    shell.send("exit 5\r")
    assert ended.wait(20)
    numbers = text().partition("seq 20000\r\n")[2]
    assert numbers.startswith("\r\n".join(map(str, range(1, 20001))))
    assert shell.status == 5
    late, over = heard(shell)
    assert over.is_set()
    assert "exit 5" in late()


def test_a_listener_that_has_cancelled_hears_no_more(shell):
    pieces: list[bytes | None] = []
    cancel = shell.listen(pieces.append)
    cancel()
    shell.run("echo more")
    assert b"more" not in b"".join(pieces)


def test_a_listener_that_fails_is_told_no_more_and_the_terminal_goes_on(shell, capsys):
    calls = []

    def listener(data):
        calls.append(data)
        if len(calls) > 1:  # the first call is ours, the next ones the thread's
            raise RuntimeError("in the listener")

    shell.listen(listener)
    assert shell.run("echo one") == "one\n"
    assert shell.run("echo two") == "two\n"
    assert len(calls) == 2
    assert "in the listener" in capsys.readouterr().err


def test_what_somebody_types_by_hand_is_not_part_of_the_next_output(shell):
    text, _ = heard(shell)
    shell.send("echo by hand\r")
    until(lambda: text().count("by hand") == 2 and text().endswith("$ "))
    assert shell.run("echo two") == "two\n"


def test_a_half_typed_line_is_taken_back(shell):
    text, _ = heard(shell)
    shell.send("echo never")
    until(lambda: text().endswith("never"))
    assert shell.run("echo two") == "two\n"


def test_a_program_that_has_the_terminal_is_named(shell):
    shell.send("sleep 1000\r")
    until(lambda: running(shell, "sleep"))
    with pytest.raises(ShellError, match=r"sleep \(PID \d+\) has the terminal"):
        shell.run("echo")
    shell.send("\x03")
    assert shell.run("echo free") == "free\n"


def test_output_of_the_background_above_the_command(shell):
    for number in range(20):
        output = shell.run(f"( (echo late) & ); echo {number}")
        assert output.replace("late\n", "") == f"{number}\n"


def test_output_of_the_background_below_the_prompt_is_in_nobodys_way(shell, tmp_path):
    text, _ = heard(shell)
    shell.run(f"( (until test -e {tmp_path}/now; do :; done; echo late) & )")
    (tmp_path / "now").touch()
    until(lambda: text().endswith("late\r\n"))
    assert shell.run("echo two") == "two\n"


def test_a_shell_that_edits_its_line(shell):
    shell.run("bash --norc --noprofile")
    assert shell.run("echo one") == "one\n"
    long = "echo " + "x" * 300
    assert shell.run(long) == "x" * 300 + "\n"
    assert shell.run("exit") == "exit\n"
    assert shell.run("echo two") == "two\n"


@pytest.fixture
def bash():
    with Shell(["bash", "--norc"], timeout=120) as shell:
        shell.resize(24, 40)
        yield shell


def test_an_editor_counts_only_what_it_shows_of_the_prompt(bash):
    text, _ = heard(bash)
    bash.send("x" * 60 + "\x01")  # to the beginning of the line
    until(lambda: "\x1b[A" in text())
    assert text().count("\x1b[A") == 1  # 62 characters are two lines of 40: one up


def test_an_editor_that_breaks_its_line_anywhere(bash):
    for length in range(28, 84):
        word = "x" * length
        assert bash.run(f"echo {word}") == f"{word}\n"
    assert bash.run("echo " + "漢字🙂" * 40) == "漢字🙂" * 40 + "\n"


@pytest.mark.parametrize(
    ("keys", "shown"),
    [
        ("echo never", "never"),
        ("x" * 70 + "y", "y"),
        ("echo never\x1b[D\x1b[D", "\b\b"),
        ("x" * 70 + "\x01", "\x1b[A"),
    ],
)
def test_a_half_typed_line_in_an_editor_is_taken_back(bash, keys, shown):
    text, _ = heard(bash)
    bash.send(keys)
    until(lambda: shown in text())
    assert bash.run("echo two") == "two\n"


def test_a_prompt_that_an_editor_draws_again_is_not_the_end_of_a_command(bash):
    for columns in range(60, 160):
        bash.resize(24, columns)
        assert bash.run("stty size") == f"24 {columns}\n"


def test_bytes_that_are_no_text_can_be_typed(shell):
    text, _ = heard(shell)
    shell.send("stty raw -echo; echo up; head -c 3 | od -An -v -tx1; stty sane\r")
    until(lambda: "up\n" in text())
    shell.send(os.fsdecode(b"\x81a\xff"))
    assert "81 61 ff" in shell.wait()


def test_it_works_with_more_descriptors_than_select_takes():
    with many_descriptors(), Shell(timeout=120) as shell:
        descriptors = [int(fd) for fd in os.listdir("/proc/self/fd")]
        paths = {fd: os.path.realpath(f"/proc/self/fd/{fd}") for fd in descriptors}
        assert max(fd for fd, path in paths.items() if path.endswith("ptmx")) > 1023
        shell.run("sleep 100 &")
        assert shell.run("echo one") == "one\n"
        assert shell.run("echo bye; exit 3") == "bye\n"
        assert shell.status == 3


def test_the_longest_line(shell):
    assert shell.run("true " + "x" * 4085) == ""


def test_the_terminal_has_the_size_it_was_given(shell):
    assert shell.run("stty size") == "24 200\n"
    shell.resize(10, 44)
    assert shell.run("stty size") == "10 44\n"
    assert shell.size == (10, 44)
    assert shell.run("bash -c 'echo $COLUMNS $LINES'") == "\n"


def test_typing_more_than_a_terminal_takes_holds_nobody_up(shell):
    text, _ = heard(shell)
    shell.send("stty raw -echo; sleep 1000\r")  # nobody reads
    until(lambda: "sleep 1000\r\n" in text())
    shell.send("x" * 1_000_000)
    shell.close()


def test_a_shell_that_nobody_holds_is_closed():
    shell = Shell()
    pid = shell.pid
    del shell
    until(lambda: not os.path.exists(f"/proc/{pid}"))


def test_one_that_ignores_the_end_of_its_terminal_is_ended():
    shell = Shell(["/bin/sh", "-c", "trap '' HUP; exec sh"])
    pid = shell.pid
    shell.close()
    assert not os.path.exists(f"/proc/{pid}")
    assert shell.status == 137
