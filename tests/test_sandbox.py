"""sandbox: what happens in the lab kernel stays there, and ends with it, however it ends."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from labkit import places, procfs
from tests.answers.stub import solution
from tests.helpers.processes import ORDINARY, Kernel, machine, until, until_gone


@pytest.fixture
def kernel(tmp_path: Path) -> Iterator[Kernel]:
    kernel = Kernel(tmp_path)
    yield kernel
    kernel.end()


START_CHILDREN = (
    "import subprocess; subprocess.Popen(['sleep', '1000']);"
    "subprocess.Popen(['setsid', '--fork', 'sleep', '1000']).wait(); print('started')"
)


def test_the_kernel_is_pid_2_of_a_machine_called_lab(kernel):
    assert kernel.run("import os; print(os.getpid(), os.getppid())") == "2 1"
    assert kernel.run("print(os.uname().nodename, os.getuid())") == "lab 0"


def test_a_lab_ignores_no_signal_that_its_starter_ignores(tmp_path):
    """As when JupyterLab was started with nohup, or by a script that goes on."""
    ignored = (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM)
    before = [signal.signal(number, signal.SIG_IGN) for number in ignored]
    try:
        kernel = Kernel(tmp_path)
    finally:
        for number, handler in zip(ignored, before, strict=True):
            signal.signal(number, handler)
    ask = "import subprocess; print(subprocess.getoutput('grep SigIgn /proc/self/status'))"
    said = kernel.run(ask)
    kernel.end()
    mask = int(said.split()[1], 16)
    assert [number for number in ignored if mask >> (number - 1) & 1] == []


def test_no_file_in_the_folder_is_a_module_of_the_kernel_and_cells_can_import_it(tmp_path):
    """As after `echo x=1 > notebooks/signal.py`."""
    for name in (*sys.stdlib_module_names, "ipykernel_launcher", "mine"):
        (tmp_path / f"{name}.py").write_text("x = 1\n")
    kernel = Kernel(tmp_path, cwd=str(tmp_path))
    said = kernel.run("import signal, mine; print(signal.SIGINT.name, mine.x)")
    kernel.end()
    assert said == "SIGINT 1"


def test_what_was_set_for_its_starter_does_not_change_what_a_lab_prints(tmp_path, monkeypatch):
    """What tells where things are, such as HOME, it keeps."""
    settings = {
        "LANG": "de_DE.UTF-8",
        "LANGUAGE": "de",
        "LC_MESSAGES": "de_DE.UTF-8",
        "MYDOCKER_DEBUG": "1",
        "PS_FORMAT": "pid",
        "HOME": str(tmp_path),
        "TZ": "Asia/Kolkata",
        "PYTHONINSPECT": "1",
        "PYTHONIOENCODING": "latin-1",
        "PYTHONOPTIMIZE": "2",
        "PYTHONPATH": "/nosuch/path",
        "PYTHONSAFEPATH": "1",
        "PYTHONWARNINGS": "error",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    profile = tmp_path / ".ipython" / "profile_default"
    profile.mkdir(parents=True)
    (profile / "ipython_config.py").write_text("get_config().InteractiveShell.autocall = 2\n")
    kernel = Kernel(tmp_path)
    (tmp_path / "program.py").write_text("import beside; print(beside.x)\nassert not 'left out'\n")
    (tmp_path / "beside.py").write_text("x = 'für'\n")
    kernel.run("import os, subprocess")
    kept = kernel.run(f"print(*(f'{{k}}={{v}}' for k, v in os.environ.items() if k in {settings}))")
    program = kernel.run(f"print(subprocess.getoutput('python3 {tmp_path}/program.py'))")
    autocall = kernel.run("print(get_ipython().autocall)")
    images = kernel.run("print(os.environ['MYDOCKER_DATA'])")
    kernel.end()
    assert autocall == "0"
    assert images == f"{places.mine()}/images"
    where = [f"HOME={tmp_path}", "PYTHONPATH=/nosuch/path", "TZ=Asia/Kolkata"]
    assert sorted(kept.split()) == where
    assert program.startswith("für\n")
    assert program.endswith("AssertionError")


def test_a_lab_leaves_the_machine_as_it_was(kernel):
    before = machine()
    kernel.run("from labkit import linux; linux.sethostname('broken')")
    kernel.run("linux.mount('none', '/mnt', 'tmpfs'); linux.mount('none', '/proc', 'tmpfs')")
    assert kernel.run("import os; print(os.listdir('/proc'))") == "[]"
    assert machine() == before
    kernel.restart()
    assert kernel.run("import os; print(os.uname().nodename, os.getpid())") == "lab 2"
    assert machine() == before


def test_an_interrupt_stops_the_cell_and_nothing_else(kernel):
    kernel.run("import subprocess; child = subprocess.Popen(['sleep', '1000']); kept = 42")
    pids = kernel.pids
    # stop_on_error: else ipykernel refuses cells for a moment after one that failed.
    code = "print('on', flush=True)\nimport time; time.sleep(1000)"
    message = kernel.client.execute(code, stop_on_error=False)
    while kernel.client.get_iopub_msg(timeout=300)["content"].get("text") != "on\n":
        pass
    kernel.manager.interrupt_kernel()
    reply = kernel.client.get_shell_msg(timeout=300)
    assert reply["parent_header"]["msg_id"] == message
    assert reply["content"]["ename"] == "KeyboardInterrupt"
    assert kernel.run("print(child.poll(), kept)") == "None 42"
    assert kernel.pids == pids


def kill_kernel(kernel: Kernel) -> None:
    os.kill(kernel.pids[2], signal.SIGKILL)


def kill_first_process(kernel: Kernel) -> None:
    os.kill(kernel.pids[1], signal.SIGKILL)


def kill_launcher(kernel: Kernel) -> None:
    os.kill(kernel.pids[0], signal.SIGKILL)


def terminate_launcher(kernel: Kernel) -> None:
    os.kill(kernel.pids[0], signal.SIGTERM)


def restart(kernel: Kernel) -> None:
    kernel.restart()


def shut_down(kernel: Kernel) -> None:
    kernel.manager.shutdown_kernel()


@pytest.mark.parametrize(
    "end",
    [kill_kernel, kill_first_process, kill_launcher, terminate_launcher, restart, shut_down],
)
def test_no_process_outlives_the_kernel(kernel, end):
    assert kernel.run(START_CHILDREN) == "started"
    # The one that setsid has left behind may still be on its way from fork to exec.
    until(lambda: kernel.names.count("sleep") == 2)
    pids = kernel.pids
    end(kernel)
    # A killed launcher stays a zombie until its parent, this test, asks for its status.
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pids[0], os.WNOHANG)
    until_gone(pids[1:])


def test_the_sandbox_ends_when_the_one_who_started_it_is_gone():
    """As when a Jupyter server is killed: nobody is left to stop its kernels."""
    program = (
        "import os, subprocess, sys\n"
        "inner = 'import os, time; from labkit import sandbox;"
        'sandbox.run(lambda: print("up", flush=True) or time.sleep(1000), session=True,'
        "watch=os.getppid())'\n"
        "subprocess.Popen([sys.executable, '-c', inner]).wait()"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as starter:
        assert starter.stdout.readline() == b"up\n"
        pids = [process.pid for _, process in procfs.tree(starter.pid)]
        assert len(pids) == 4
        starter.kill()
    until_gone(pids)


RUN = """
import os, signal, sys
from labkit import sandbox
sys.exit(sandbox.run(lambda: {body}))
"""


def run_in_sandbox(body: str, prefix: list[str]) -> subprocess.CompletedProcess[str]:
    command = [*prefix, sys.executable, "-c", RUN.format(body=body)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("prefix", [[], ORDINARY], ids=["as this user", "without capabilities"])
@pytest.mark.parametrize(
    ("body", "status"),
    [("0", 0), ("7", 7), ("sys.exit(3)", 3), ("os.kill(os.getpid(), signal.SIGKILL)", 137)],
)
def test_the_exit_status_comes_through(prefix, body, status):
    assert run_in_sandbox(body, prefix).returncode == status


def test_without_capabilities_it_uses_a_user_namespace_and_is_root_in_it():
    body = "print(os.getuid(), open('/proc/self/uid_map').read().split()) or 0"
    assert run_in_sandbox(body, ORDINARY).stdout == f"0 ['0', '{os.getuid()}', '1']\n"


def test_where_namespaces_are_forbidden_it_says_so_in_one_line():
    forbid = ["unshare", "--user", "--map-root-user", "sh", "-c"]
    program = (
        "echo 0 > /proc/sys/user/max_user_namespaces; "
        "exec setpriv --bounding-set -all --inh-caps -all "
        f"{sys.executable} -m labkit.sandbox -f none"
    )
    run = subprocess.run([*forbid, program], capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr.startswith("labkit sandbox: unshare(CLONE_NEW")
    assert run.stderr.count("\n") == 1


UNDO = """
import os, sys
from labkit import linux
MS_REMOUNT = 32  # linux/mount.h
tries = [
    lambda: open(sys.argv[1], "w"),
    lambda: linux.mount(None, sys.argv[2], None, MS_REMOUNT | linux.MS_BIND),
    lambda: linux.set_read_only(sys.argv[2], False),
    lambda: linux.umount(sys.argv[2]),
]
for attempt in tries:
    try:
        attempt()
        print("done")
    except OSError as error:
        print(error.errno)
open("mine", "w").write("this folder is writable")
"""


@pytest.mark.parametrize("prefix", [[], ORDINARY], ids=["as this user", "without capabilities"])
def test_the_root_inside_cannot_open_a_seal(prefix, tmp_path):
    victim, folder = tmp_path / "victim", tmp_path / "folder"
    victim.write_text("as it was")
    folder.mkdir()
    top = next(
        m.target
        for m in reversed(sorted(procfs.mounts(), key=lambda m: len(m.target)))
        if victim.is_relative_to(m.target)
    )
    command = [*prefix, sys.executable, "-m", "labkit.hardened", str(folder)]
    command += [sys.executable, "-c", UNDO, str(victim), top]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.split() == [str(errno.EROFS), *[str(errno.EPERM)] * 2, str(errno.EINVAL)]
    assert victim.read_text() == "as it was"
    assert (folder / "mine").read_text() == "this folder is writable"


OPEN_MANY = """
import os, resource
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
"""


def test_no_descriptor_is_too_high_to_wait_for():
    program = OPEN_MANY + RUN.format(body="7").replace("))", ", watch=os.getppid()))")
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (7, "")


def test_no_descriptor_is_too_high_for_a_judge(kernel):
    kernel.run(f"%load_ext labkit\nfrom labkit.exercise.check import check\n{OPEN_MANY}")
    kernel.run(f"%%answer 02.1\n{solution('02.1')}")
    assert kernel.run("check('02.1')").startswith("✓ 02.1 passed")


def test_orphans_are_reaped():
    body = (
        "os.system('for i in 1 2 3 4 5; do setsid --fork true; done;"
        "while ps -eo comm,state | grep -q ^true; do :; done; ps -eo state')"
    )
    assert "Z" not in run_in_sandbox(body, []).stdout


def test_what_reaches_it_early_is_not_lost():
    """A signal in the middle of the start ends it; nothing is left."""
    for delay in range(0, 60, 6):
        program = RUN.format(body="os.execvp('sleep', ['sleep', '1000'])")
        with subprocess.Popen([sys.executable, "-c", program]) as launcher:
            time.sleep(delay / 1000)  # on purpose: at another moment of the start each time
            pids = [process.pid for _, process in procfs.tree(launcher.pid)]
            launcher.send_signal(signal.SIGTERM)
            assert launcher.wait(20) in (-15, 143)
        until_gone(pids)
