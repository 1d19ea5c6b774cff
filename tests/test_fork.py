"""fork: a function in a copy of this process, and all that it wrote."""

import os
import signal
import subprocess
import sys
import threading
import time

from labkit import procfs
from labkit.fork import forked
from tests.helpers.processes import until


def several_writers():
    sys.stdout.write("one ")
    sys.stderr.write("two\n")
    os.write(1, b"three\n")
    os.system("echo four")
    print("five", end="")


def test_what_was_written_in_the_order_it_was_written():
    assert forked(several_writers) == "one two\nthree\nfour\nfive"


def test_arguments_and_a_result_that_is_dropped():
    assert forked(print, "a", "b", sep="-") == "a-b"
    assert forked(lambda: 7) == ""


def test_ten_megabytes():
    assert len(forked(lambda: print("x" * 10_000_000))) == 10_000_000


def fail():
    raise ValueError(os.fsdecode(b"bad \xff"))


def test_an_exception_is_the_last_line():
    assert forked(fail) == "ValueError: bad \\udcff"


def test_a_signal_that_ended_it_is_named():
    assert forked(lambda: os.kill(os.getpid(), signal.SIGKILL)) == "ended by SIGKILL"


def test_an_exit_is_no_error():
    assert forked(sys.exit, 0) == ""
    assert forked(sys.exit, "bye") == "bye"


def test_it_has_one_thread_where_we_have_several():
    end = threading.Event()
    threading.Thread(target=end.wait).start()
    assert forked(lambda: print(len(os.listdir("/proc/self/task")))) == "1"
    end.set()


def test_an_interrupt_ends_it_at_once():
    program = (
        "import os, signal, time; from labkit.fork import forked\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "told = os.dup(1)\n"
        "def child():\n"
        "    os.write(told, b'%d\\n' % os.getpid())\n"
        "    time.sleep(1000)\n"
        "forked(child)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        child = int(process.stdout.readline())
        until(lambda: procfs.process(process.pid).state == "S")
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(60) != 0
        finally:
            process.kill()
        assert b"KeyboardInterrupt" in process.stderr.read()
        assert procfs.process(child) is None


def test_it_waits_for_a_child_that_has_closed_its_output(tmp_path):
    def child():
        os.close(1)
        os.close(2)
        time.sleep(0.2)  # on purpose: the other side has seen the end of the output
        (tmp_path / "end").touch()

    assert forked(child) == ""
    assert (tmp_path / "end").exists()
