"""check: what a learner is told, first and later, and that no mistake of theirs is a traceback."""

import errno
import os
import signal
import termios
from types import SimpleNamespace

import nbformat
import pytest

from labkit import exercise
from labkit.course import progress, workbook
from labkit.exercise import Answer, check
from labkit.exercise.check import hint, solution
from labkit.exercise.observe import Incorrect, expect
from labkit.exercise.sandboxed_run import Limits
from labkit.exercise.verdict import Verdict, judge

SLEEPER = "import os\nos.execvp('sleep', ['sleep', '1000'])\n"


@pytest.fixture
def magics(monkeypatch, tmp_path):
    """The two magics, as functions of line and cell, and a course in which nothing has happened."""
    monkeypatch.setenv("LABKIT_MINE", str(tmp_path))
    for name, value in vars(check.Session()).items():
        monkeypatch.setattr(check.session, name, value)
    found = {}

    class Shell:
        history_manager = SimpleNamespace(input_hist_raw=[])

        def register_magic_function(self, function, kind, name):
            found[name] = function

    check.register(Shell())
    found["cells"] = Shell.history_manager.input_hist_raw
    return found


@pytest.fixture
def made_up(monkeypatch, tmp_path_factory):
    """Exercise 99.1: what it wants is the judge that a test gives."""
    book = tmp_path_factory.mktemp("course") / "99-made-up.ipynb"
    cell = nbformat.v4.new_code_cell("%%solution 99.1\none way")
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), book)
    files = {"mydocker/other.py": SimpleNamespace(text="X = 1\n")}

    def declare(judge, path=exercise.PYTHON):
        exercise.exercise("99.1", path, "look", "look closer", "it is this")(judge)
        monkeypatch.setattr(workbook, "notebook", lambda *_: (99, book))
        monkeypatch.setattr(workbook, "runtime", lambda *_: files)
        return exercise.find("99.1")

    return declare


def refuse(answer):
    raise Incorrect("a `sleep`", "none")


def verdict_of(number):
    found = check.check(number)
    assert isinstance(found, Verdict)
    return found


def test_a_check_wants_an_answer_first(magics, made_up):
    made_up(refuse)
    said = check.check("99.1")
    assert str(said) == "First run the cell above that begins with %%answer 99.1."


@pytest.mark.parametrize("number", ["", "03.0", "99.9", "../x", "03.1; x", "x" * 99, None])
def test_an_exercise_that_does_not_exist(magics, number):
    for ask in (check.check, hint, solution):
        assert "03.1" in str(ask(number))


@pytest.mark.parametrize("number", ["3.1", 3.1, " 03.1 "])
def test_a_number_as_people_write_it(magics, number):
    assert "%%answer 03.1" in str(check.check(number))


@pytest.mark.parametrize(
    ("text", "says"),
    [("x = (\n", "Line 2: '(' was never closed"), ("\0", "null bytes"), ("return 1", "Line 2")],
)
def test_a_syntax_error_is_told_with_its_line_in_the_cell(magics, made_up, text, says):
    made_up(refuse)
    magics["answer"]("99.1", "x = 1")
    said = str(magics["answer"]("99.1", text))
    assert says in said
    assert "not kept" in said
    assert "First run" in str(check.check("99.1"))


def test_empty_lines_above_an_answer_are_lines_of_the_cell(magics, made_up):
    made_up(refuse)
    magics["cells"].append("\n\n%%answer 99.1\nx = (")
    assert str(magics["answer"]("99.1", "x = (\n")).startswith("Line 4: ")
    assert str(magics["answer"]("99.1", "return 1\n")).startswith("Line 2: ")  # of another cell


@pytest.mark.parametrize("path", [exercise.PYTHON, exercise.SH])
def test_half_a_character_is_no_answer_and_no_traceback(magics, made_up, path):
    made_up(lambda answer: "all is well", path)
    said = str(magics["answer"]("99.1", "echo '\ud83d'\n"))
    assert said.endswith("surrogates not allowed. The answer was not kept.")


def test_each_failure_tells_more(magics, made_up):
    made_up(refuse)
    magics["answer"]("99.1", "x = 1")
    hints = [verdict_of("99.1").hints for _ in range(3)]
    assert hints[0] == ("look",)
    assert hints[1] == ("look", "look closer", '`solution("99.1")` shows one way to do it.')
    assert hints[2][2] == "it is this"


def test_the_judges_own_hint_comes_first(magics, made_up):
    def judge(answer):
        raise Incorrect("this", "that", "it stands still")

    made_up(judge)
    magics["answer"]("99.1", "x = 1")
    assert verdict_of("99.1").hints == ("it stands still",)
    assert verdict_of("99.1").hints[:2] == ("it stands still", "look")


def test_hint_is_about_the_last_check_and_gives_one_more_each_time(magics, made_up):
    made_up(refuse)
    assert "Which one?" in str(hint())
    assert "Which one?" in str(check.check())
    magics["answer"]("99.1", "x = 1")
    check.check("99.1")
    assert verdict_of("").number == "99.1"
    check.session.failures["99.1"] = 1
    assert str(hint()) == "look\nlook closer"
    assert str(hint()) == "look\nlook closer\nit is this"
    assert str(hint()) == "look\nlook closer\nit is this"


def test_what_is_passed_is_remembered_and_what_fails_is_not(magics, made_up):
    made_up(refuse)
    magics["answer"]("99.1", "x = 1")
    check.check("99.1")
    assert "99.1" not in progress.passed()
    made_up(lambda answer: "all is well")
    assert repr(check.check("99.1")) == "✓ 99.1 passed\n  the kernel shows: all is well"
    assert "99.1" in progress.passed()


def test_a_worked_solution_is_judged_and_counts_nothing(magics, made_up):
    made_up(lambda answer: "all is well")
    assert magics["solution"]("99.1", "x = 1").passed
    assert progress.passed() == set()


def test_solution_shows_what_the_notebook_holds(magics):
    assert "os.execvp" in str(solution("03.1"))


def test_under_nbgrader_a_failed_check_is_an_error(magics, made_up, monkeypatch):
    made_up(refuse)
    magics["answer"]("99.1", "x = 1")
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    with pytest.raises(check.NotSolved, match="wanted: a `sleep`"):
        check.check("99.1")


@pytest.mark.parametrize("error", [ValueError, KeyError, IndexError, ProcessLookupError])
def test_a_judge_that_meets_something_odd_says_so(made_up, error):
    def judge_(answer):
        raise error(f"{answer.folder}/x")

    verdict = judge(made_up(judge_), "x = 1", {})
    assert not verdict.passed
    assert error.__name__ in verdict.found
    assert "labkit-answer" not in repr(verdict)


@pytest.mark.parametrize("error", [TypeError, RecursionError, StopIteration, termios.error])
def test_no_error_of_a_judge_is_a_traceback(made_up, error):
    def judge_(answer):
        raise error("odd")

    assert judge(made_up(judge_), "x = 1", {}).found.startswith(error.__name__[:5])


def run(answer):
    with answer.start() as run:
        expect(run.wait() == 0, "status 0", run.summary())
    return "it ran"


def test_a_sandbox_that_is_refused_is_no_wrong_answer(magics, made_up, monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("labkit.exercise.sandboxed_run.sys.executable", "/bin/false")
    made_up(run)
    magics["answer"]("99.1", "x = 1")
    for _ in range(2):
        said = str(check.check("99.1"))
        assert "no fault of your answer" in said
        assert "labkit doctor" in said
    assert "no fault" in str(magics["solution"]("99.1", "x = 1"))
    assert check.session.failures == {}
    assert [path.name for path in tmp_path.iterdir() if "answer" in path.name] == []


@pytest.mark.parametrize("where", ["folder", "judge"])
def test_a_full_disk_is_no_wrong_answer(magics, made_up, monkeypatch, where):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp/x")

    made_up(full if where == "judge" else run)
    magics["answer"]("99.1", "x = 1")
    if where == "folder":
        monkeypatch.setattr("tempfile.mkdtemp", full)
    said = str(check.check("99.1"))
    assert "/tmp/x: No space left on device" in said
    assert "no fault of your answer" in said


def test_an_interrupt_ends_a_check_in_one_line_and_leaves_nothing(
    magics, made_up, monkeypatch, tmp_path
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    pids = []

    def judge_(answer):
        with answer.start() as run:
            sleep = run.until(lambda: run.find("sleep", "1000"))
            pids.append(sleep.pid)
            signal.raise_signal(signal.SIGINT)
            run.wait()

    made_up(judge_)
    magics["answer"]("99.1", SLEEPER)
    with pytest.raises(check.Interrupted) as caught:
        check.check("99.1")
    assert caught.value._render_traceback_() == ["99.1 was interrupted and is not judged."]
    assert not os.path.exists(f"/proc/{pids[0]}")
    assert not [path for path in tmp_path.iterdir() if "answer" in path.name]


def test_what_no_reader_sees_is_not_shown(made_up):
    def judge_(answer):
        with answer.start() as run:
            run.wait()
        raise Incorrect("this", "\x1b[2J\udcff" + "x" * 10_000)

    verdict = judge(made_up(judge_), r"print('a\x1b]0;title\x07b\0c')", {})
    assert verdict.output == "a?]0;title?b?c"
    assert verdict.found.startswith("?[2J?xxx")
    assert len(verdict.found) < 400


@pytest.mark.parametrize(
    "trick",
    [
        "os.mkfifo('.values.json')",
        "os.symlink('/dev/zero', '.values.json')",
        "os.mkdir('.values.json')",
        "open('.values.json', 'w').write('[' * 200_000)",
        "open('.values.json', 'w').write('7')",
    ],
)
def test_what_lies_in_place_of_the_values_does_not_stop_the_judge(made_up, trick):
    verdict = judge(
        made_up(lambda answer: str(answer.values("x"))), f"import os\n{trick}\nos._exit(0)", {}
    )
    assert verdict.found == "nothing called x"


def test_an_answer_runs_beside_the_runtime_and_the_verdict_shows_what_it_printed(made_up):
    def judge_(answer: Answer):
        with answer.start("word") as run:
            expect(run.wait() == 0, "status 0", run.summary())
            raise Incorrect("nothing", "something")

    text = "import sys\nfrom mydocker.other import X\nprint(X, sys.argv[1:], __file__)\n"
    verdict = judge(made_up(judge_), text, {"mydocker/other.py": "X = 1\n"})
    assert verdict.found == "something"
    assert verdict.output == "1 ['word'] answer.py"


def test_a_long_output_is_cut(made_up):
    def judge_(answer):
        with answer.start() as run:
            run.wait()
        raise Incorrect("little", "much")

    verdict = judge(made_up(judge_), "print('x' * 100_000)", {})
    assert len(verdict.output) < 2000


def test_an_answer_that_is_a_file_of_the_runtime_replaces_it(made_up):
    def judge_(answer):
        with answer.start("run", "x") as run:
            expect(run.wait() == 3, "status 3", run.summary())
        return "3"

    runtime = {
        "mydocker/__main__.py": "from . import other\n",
        "mydocker/other.py": "raise SystemExit(4)\n",
    }
    file = made_up(judge_, "mydocker/other.py")
    assert judge(file, "raise SystemExit(3)\n", runtime).passed
    assert "status 4" in judge(file, runtime["mydocker/other.py"], runtime).found


def test_a_shell_script(made_up):
    def judge_(answer):
        with answer.start("word") as run:
            expect(run.wait() == 5, "status 5", run.summary())
        return "5"

    assert judge(made_up(judge_, exercise.SH), '[ "$1" = word ] && exit 5', {}).passed


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x = [1, 'a']", None),
        ("y = 1", "nothing called x"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("while True: pass", "it was not done after"),
        ("import os; os._exit(0)", "nothing called x"),
        ("import sys; x = sys.stdout", "a word"),
    ],
)
def test_values_of_a_python_answer(made_up, text, found, monkeypatch):
    def judge_(answer):
        (value,) = answer.values("x")
        expect(value == [1, "a"], "[1, 'a']", "a word" if isinstance(value, str) else value)
        return "so"

    limits = Limits(seconds=1 if "while" in text else 20)
    monkeypatch.setattr(exercise, "Limits", lambda: limits)
    monkeypatch.setattr("labkit.exercise.sandboxed_run.Limits", lambda: limits)
    verdict = judge(made_up(judge_), text, {})
    assert verdict.passed == (found is None)
    assert found is None or found in verdict.found


def test_an_answer_that_locks_its_folder_leaves_nothing(made_up, monkeypatch, tmp_path):
    def judge_(answer):
        with answer.start() as run:
            expect(run.wait() == 0, "status 0", run.summary())
        return "locked"

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    text = "import os; os.makedirs('a/b'); os.chmod('a/b', 0); os.chmod('a', 0); os.chmod('.', 0)"
    assert judge(made_up(judge_), text, {}).passed
    assert not list(tmp_path.iterdir())


def test_what_a_link_in_an_answers_folder_points_to_is_left_alone(made_up, monkeypatch, tmp_path):
    def judge_(answer):
        (answer.folder / "link").symlink_to(locked)
        return "linked"

    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert judge(made_up(judge_), "x = 1", {}).passed
    assert locked.stat().st_mode & 0o777 == 0o500
    assert list(tmp_path.iterdir()) == [locked]


def test_a_verdict_for_a_page_is_escaped_and_says_the_same():
    verdict = Verdict("03.1", False, "`a` < b", "<script>", ("try `x`",), "<b>")
    page = verdict._repr_html_()
    assert "<script>" not in page
    assert "<b>" not in page
    assert "<code>a</code> &lt; b" in page
    for word in ("✗ 03.1 not yet", "wanted", "found", "hint", "your answer printed"):
        assert word in page
        assert word in repr(verdict)
