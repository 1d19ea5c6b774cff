"""The page, as a person meets it: JupyterLab of `labkit lab` in headless Chromium.

Screenshots go to `build/screenshots`; look at them after a change to what a page shows.
"""

import os
import re

import nbformat
import pytest

from labkit import procfs
from labkit.view import four_steps
from tests.answers.stub import solution, stub
from tests.helpers import browser
from tests.helpers.browser import Terminal
from tests.helpers.course import ROOT
from tests.helpers.pages import LAYOUT_FAULTS, LOW_CONTRASTS
from tests.helpers.processes import until

SHOTS = ROOT / "build" / "screenshots"
BASH = """from labkit.shell import Shell
from labkit.view import Terminal
shell = Shell(["bash", "--norc"])
Terminal(shell)"""


@pytest.fixture(scope="module")
def shared(chromium, address, lab_folder):
    """One terminal with bash, for what leaves it as it was."""
    name = browser.new_notebook(lab_folder / "mine", [BASH])
    with browser.notebook(chromium, address, name) as notebook:
        notebook.run_all()
        yield Terminal(notebook.page)


def shot(page, name):
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{name}.png")


@pytest.fixture
def terminal(shared):
    yield shared
    shared.type("clear")
    shared.wait_for(lambda lines: lines == ["$"])


def test_what_is_typed_is_run(terminal):
    assert terminal.answer("echo $((6 * 7))") == ["42"]


def test_colours(terminal):
    terminal.answer("printf '\\033[31mred\\033[0m plain\\n'")
    red = terminal.frame.locator(".xterm-rows span", has_text="red").last
    plain = terminal.frame.locator(".xterm-rows span", has_text="plain").last
    colour = "e => getComputedStyle(e).color"
    assert red.evaluate(colour) != plain.evaluate(colour)


def test_arrow_keys_and_tab(terminal):
    terminal.answer("echo first")
    terminal.press("ArrowUp", "ArrowLeft", "ArrowLeft", "X", "Enter")
    terminal.wait_for(lambda lines: lines[-2:] == ["firXst", "$"])
    terminal.click()
    terminal.page.keyboard.type("echo /proc/self/mountin")
    terminal.press("Tab", "Enter")
    terminal.wait_for(lambda lines: lines[-2:] == ["/proc/self/mountinfo", "$"])


def test_ctrl_c_ends_a_command(terminal):
    terminal.type("sleep 1000")
    terminal.wait_for(lambda lines: lines[-1] == "$ sleep 1000")
    terminal.press("Control+c")
    terminal.wait_for(lambda lines: lines[-1] == "$")


def test_ctrl_c_copies_what_is_selected_and_then_ends_a_command(terminal):
    terminal.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    terminal.type("clear; echo selected words; sleep 1000")
    terminal.wait_for(lambda lines: lines == ["selected words"])
    screen = terminal.frame.locator(".xterm-screen").bounding_box()
    terminal.page.mouse.dblclick(screen["x"] + 20, screen["y"] + 8)
    terminal.page.keyboard.press("Control+c")
    assert terminal.page.evaluate("navigator.clipboard.readText()") == "selected"
    terminal.page.keyboard.press("Control+c")
    terminal.wait_for(lambda lines: lines == ["selected words", "^C", "$"])


def test_ctrl_z_stops_it_and_fg_goes_on(terminal):
    terminal.type("cat")
    terminal.press("Control+z")
    terminal.wait_for(lambda lines: "Stopped" in "".join(lines[-2:-1]))
    terminal.type("fg")
    terminal.type("again")
    terminal.wait_for(lambda lines: lines[-2:] == ["again", "again"])
    terminal.press("Control+d")
    terminal.wait_for(lambda lines: lines[-1] == "$")


def test_paste(terminal):
    terminal.click()
    terminal.page.evaluate(
        """() => { const clipboardData = new DataTransfer();
        clipboardData.setData("text/plain", "echo pasted");
        document.activeElement.dispatchEvent(
            new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true })); }"""
    )
    terminal.press("Enter")
    terminal.wait_for(lambda lines: lines[-2:] == ["pasted", "$"])


def test_characters_of_every_width(terminal):
    terminal.click()
    terminal.page.keyboard.insert_text("echo ü€漢字🙂")
    terminal.press("Enter")
    terminal.wait_for(lambda lines: lines[-2:] == ["ü€漢字🙂", "$"])


def test_a_program_that_draws_the_screen(terminal, tmp_path):
    terminal.type(f"vi {tmp_path}/note")
    terminal.wait_for(lambda lines: lines[1:3] == ["~", "~"])
    shot(terminal.page, "vi")
    terminal.page.keyboard.type("ihello")
    terminal.press("Escape")
    terminal.page.keyboard.type(":wq\n")
    terminal.wait_for(lambda lines: lines[-1] == "$")
    assert (tmp_path / "note").read_text() == "hello\n"


def test_top_runs_and_q_leaves_it(terminal):
    terminal.type("top")
    terminal.wait_for(lambda lines: any("PID" in line and "COMMAND" in line for line in lines))
    terminal.press("q")
    terminal.wait_for(lambda lines: lines[-1] == "$")


def test_the_size_of_the_element_is_the_size_of_the_terminal(terminal):
    screen = terminal.frame.locator(".labkit-terminal-screen")
    rows, columns = map(int, terminal.answer("stty size")[0].split())
    screen.evaluate("e => { e.style.height = '200px'; e.style.width = '500px'; }")
    terminal.page.wait_for_function("!document.querySelector('.xterm-rows > div:nth-child(14)')")
    fewer, narrower = map(int, terminal.answer("stty size")[0].split())
    assert fewer < rows
    assert narrower < columns
    assert terminal.frame.locator(".xterm-rows > div").count() == fewer
    screen.evaluate("e => { e.style.height = e.style.width = ''; }")
    terminal.page.wait_for_function("document.querySelector('.xterm-rows > div:nth-child(14)')")
    assert terminal.answer("stty size") == [f"{rows} {columns}"]


def test_escape_then_tab_leaves_it_and_the_reader_is_told_so(terminal):
    terminal.type("cat")  # bash would take the Escape for the first half of a key
    terminal.wait_for(lambda lines: lines[-1] == "$ cat")
    terminal.click()
    focused = "document.activeElement.closest('.labkit-terminal-screen') !== null"
    label = terminal.page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert "press Escape, then Tab" in label
    terminal.page.keyboard.press("Tab")
    assert terminal.page.evaluate(focused)
    terminal.page.keyboard.press("Escape")
    terminal.page.keyboard.press("Tab")
    assert not terminal.page.evaluate(focused)
    terminal.press("Control+c")
    terminal.wait_for(lambda lines: lines[-1] == "$")


def test_it_answers_while_another_cell_runs(opened):
    notebook = opened(
        BASH, "shell.run('echo from the cell')", "import time; time.sleep(1000)", run=False
    )
    notebook.run(0)
    terminal = Terminal(notebook.page)
    notebook.run(1)
    notebook.run(2)
    notebook.page.get_by_text("Container lab | Busy").wait_for()
    assert terminal.answer("echo by hand") == ["by hand"]
    assert "$ echo from the cell" in terminal.lines()
    shot(notebook.page, "while-a-cell-runs")
    notebook.command("Kernel", "kernelmenu:interrupt")
    notebook.idle()
    assert terminal.answer("echo alive") == ["alive"]


def test_a_page_that_is_loaded_again_shows_it_again(opened):
    notebook = opened(BASH, alone=True)
    terminal = Terminal(notebook.page)
    terminal.answer("echo before")
    notebook.command("File", "docmanager:save")
    notebook.page.wait_for_timeout(500)
    notebook.load()
    terminal = Terminal(notebook.page)
    terminal.wait_for(lambda lines: "before" in lines and lines[-1] == "$")
    assert terminal.answer("echo after") == ["after"]


def test_two_views_show_the_same(opened):
    notebook = opened(BASH + "\nfirst = Terminal(shell)\nfirst", "first")
    one, two = Terminal(notebook.page, 0), Terminal(notebook.page, 1)
    one.answer("echo same")
    two.wait_for(lambda lines: "same" in lines and lines[-1] == "$")
    two.type(
        "stty -echo; tput u7; read -r -t 5 -d R answer; stty echo; "
        "echo \"${answer#*[}\" | tr -d '0-9'"
    )
    two.wait_for(lambda lines: lines[-2:] == [";", "$"])  # one answer, not two


def test_a_flood_is_stopped_within_a_second(opened):
    notebook = opened(BASH)
    terminal = Terminal(notebook.page)
    terminal.type("yes")
    notebook.page.wait_for_timeout(3000)
    terminal.press("Control+c")
    terminal.wait_for(lambda lines: lines[-1].endswith("$"), seconds=2)
    assert terminal.answer("echo alive") == ["alive"]


def test_the_end_of_the_shell_is_told_with_its_status(opened):
    notebook = opened(BASH)
    terminal = Terminal(notebook.page)
    terminal.type("exit 7")
    terminal.frame.get_by_text("The shell has ended with status 7.").wait_for()
    shot(notebook.page, "ended")


def test_the_shell_ends_with_the_kernel(opened):
    notebook = opened(BASH)
    terminal = Terminal(notebook.page)
    mark = f"LABKIT_TEST={os.getpid()}-{id(terminal)}"
    terminal.answer(f"env {mark} sleep 1000 &")
    until(lambda: procfs.with_environment(mark))
    notebook.command("Kernel", "kernelmenu:shutdown")
    until(lambda: not procfs.with_environment(mark))


def test_a_kernel_that_starts_anew_is_told_of(opened):
    notebook = opened(
        BASH + "\nfrom labkit import Namespaces\nTerminal(shell)", "Namespaces(shell)"
    )
    page = notebook.page
    Terminal(page).answer("echo before")
    page.locator(".lk-picture").first.wait_for()
    notebook.command("Kernel", "kernelmenu:restart")
    page.locator(".jp-Dialog button.jp-mod-warn").click()
    page.locator(".labkit-terminal-bar").get_by_text("The kernel has ended").wait_for()
    page.get_by_text("the picture no longer follows").wait_for()
    shot(page, "kernel-gone")
    notebook.idle()
    notebook.run_all()
    terminal = Terminal(page)
    assert terminal.answer("echo after") == ["after"]
    assert not page.get_by_text("The kernel has ended").count()
    notebook.command("Kernel", "kernelmenu:shutdown")
    page.get_by_text("No Kernel").first.wait_for()
    terminal.click()  # of this end the page tells nobody before it is asked
    terminal.frame.get_by_text("The kernel has ended").wait_for()


def test_bytes_that_mean_nothing_leave_the_console_alone(opened):
    notebook = opened(BASH)
    said = []
    notebook.page.on("console", lambda message: said.append(message.text))
    terminal = Terminal(notebook.page)
    assert terminal.answer(r"printf '\177\nover\n'") == ["", "over"]
    assert [text for text in said if "xterm" in text] == []


def test_the_mouse_is_told_in_bytes(opened):
    notebook = opened(BASH, width=1600)
    terminal = Terminal(notebook.page)
    _, columns = map(int, terminal.answer("stty size")[0].split())
    assert columns >= 98
    read = "head -c 12 | od -An -v -w6 -tx1"
    terminal.type(
        f"stty raw -echo; printf '\\033[?1000h'; {read}; printf '\\033[?1000l'; stty sane"
    )
    terminal.frame.locator(".xterm.enable-mouse-events").wait_for()
    screen = terminal.frame.locator(".xterm-screen").bounding_box()
    x = screen["x"] + screen["width"] * 97.5 / columns
    notebook.page.mouse.click(x, screen["y"] + 5)
    press, release = "1b 5b 4d 20 82 21", "1b 5b 4d 23 82 21"  # 0x82 is 32 + 98
    terminal.wait_for(lambda lines: {press, release} <= {line.strip() for line in lines})


@pytest.fixture
def lines(opened):
    """A terminal in a page that has no xterm.js, beside one that was made before."""
    notebook = opened(BASH, "Terminal(shell)", run=False, alone=True)
    notebook.run(0)
    Terminal(notebook.page)
    notebook.page.evaluate(
        """Object.keys(globalThis).filter((name) => /packChunk.*anywidget/.test(name))
        .forEach((name) => delete globalThis[name])"""
    )
    notebook.run(1)
    return Lines(notebook.page, 1)


class Lines(Terminal):
    """The same without xterm.js."""

    def click(self):
        self.frame.get_by_label("Type a line").click()

    def lines(self):
        text = self.frame.locator("pre").evaluate("e => e.textContent")
        return [line.rstrip() for line in text.rstrip().split("\n")]


def test_a_page_without_xterm_says_where_the_terminal_works(lines):
    lines.frame.get_by_text("the full terminal is in JupyterLab").wait_for()
    shot(lines.page, "without-xterm")


def test_a_page_without_xterm_takes_a_line_at_a_time(lines):
    assert lines.answer("printf '\\033[31mred\\033[0m <b>\\n'") == ["red <b>"]
    long = "x" * 100  # the editor breaks it, and writes over its own blank
    assert lines.answer(f"echo {long}") == [long]
    Terminal(lines.page, 0).wait_for(lambda shown: "red <b>" in shown)
    lines.type("cat")
    lines.wait_for(lambda shown: shown[-1] == "$ cat")
    lines.type("line")
    lines.wait_for(lambda shown: shown[-3:] == ["$ cat", "line", "line"])
    lines.press("Control+d")
    lines.wait_for(lambda shown: shown[-2:] == ["line", "$"])
    for stop in (
        lambda: lines.press("Control+c"),
        lines.frame.get_by_role("button", name="Ctrl-C").click,
    ):
        lines.type("clear; sleep 1000")
        lines.wait_for(lambda shown: shown == [""])
        stop()
        lines.wait_for(lambda shown: shown == ["^C", "$"])
    lines.type("exit 7")
    lines.frame.get_by_text("The shell has ended with status 7.").wait_for()
    assert lines.frame.locator("input").count() == 0


def test_a_page_without_xterm_shows_what_is_written_over(lines):
    steps = "for i in 9 10 5; do printf '%s%%   \\r' $i; done; printf '\\r\\033[Kdone\\n'"
    assert lines.answer(steps) == ["done"]
    assert lines.answer("printf 'loading 10%%\\rloading 9%%\\n'") == ["loading 9%%"]
    assert lines.answer("printf '|\\b/\\b-\\n'") == ["-"]
    lines.type("seq 1000")
    kept = [*map(str, range(502, 1001)), "$"]
    lines.wait_for(lambda shown: shown == kept)


def test_a_page_without_xterm_hides_a_password(lines):
    lines.type("read -s -p 'Password: ' word; echo; echo ${#word}")
    lines.wait_for(lambda shown: shown[-1] == "Password:")
    field = lines.frame.get_by_label("Type a line")
    assert field.get_attribute("type") == "password"
    lines.type("secret")
    lines.wait_for(lambda shown: shown[-3:] == ["Password:", "6", "$"])
    assert field.get_attribute("type") == "text"


def test_a_flood_in_a_page_without_xterm_is_stopped(lines):
    lines.type("yes")
    lines.page.wait_for_timeout(3000)
    lines.press("Control+c")
    lines.wait_for(lambda shown: shown[-1].endswith("$"), seconds=5)


def test_it_follows_the_theme(opened):
    notebook = opened(BASH, width=900)
    terminal = Terminal(notebook.page)
    terminal.answer("ls --color=always /")
    background = "e => getComputedStyle(e).backgroundColor"
    screen = terminal.frame.locator(".xterm-viewport")
    light = screen.evaluate(background)
    shot(notebook.page, "light")
    notebook.theme("JupyterLab Dark")
    dark = screen.evaluate(background)
    shot(notebook.page, "dark")
    notebook.theme("JupyterLab Light")
    assert light != dark


def test_the_picture_follows_what_is_typed_beside_it(opened):
    notebook = opened(
        BASH + "\nfrom labkit import Namespaces\nTerminal(shell)",
        "Namespaces(shell)",
        "import time; time.sleep(1000)",
        run=False,
    )
    page = notebook.page

    def says(words):
        page.locator(".lk-picture", has_text=words).wait_for()

    notebook.run(0)
    terminal = Terminal(page)
    notebook.run(1)
    says("No container")
    terminal.type("unshare --mount --uts --ipc --net --pid --fork --mount-proc sh")
    says("= 1 inside")
    terminal.type("hostname box")
    page.locator(".lk-container dd", has_text="box").wait_for()
    notebook.run(2)
    page.get_by_text("Container lab | Busy").wait_for()
    terminal.type("sleep 1000 &")
    says("sleep PID")
    shot(page, "namespaces-light")
    notebook.command("Kernel", "kernelmenu:interrupt")
    notebook.idle()
    notebook.theme("JupyterLab Dark")
    shot(page, "namespaces-dark")
    notebook.theme("JupyterLab Light")
    terminal.type("exit")
    says("No container")
    terminal.type("exit")
    says("The process has ended")
    shot(page, "namespaces-ended")


PICTURES = """import os
from labkit import four_steps, mounts_picture, namespace_picture
display(four_steps(3), namespace_picture(os.getpid()))
mounts_picture({"one": "self", "other": 1})"""


def test_pictures_are_laid_out_in_jupyterlab(opened):
    notebook = opened(PICTURES)
    page = notebook.page
    page.locator(".lk-picture").nth(2).wait_for()
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        notebook.theme(theme)
        assert page.evaluate(LOW_CONTRASTS) == []
    assert page.evaluate(LAYOUT_FAULTS) == []
    page.add_style_tag(content=".jp-OutputArea-output:has(.lk-picture) { max-width: 380px }")
    page.locator(".lk-picture").first.wait_for()
    assert page.locator(".lk-picture").first.bounding_box()["width"] <= 380
    assert page.evaluate(LAYOUT_FAULTS) == []
    shot(page, "pictures-narrow")


def test_a_picture_that_is_not_trusted_keeps_its_words(visit, lab_folder):
    cell = nbformat.v4.new_code_cell("four_steps(3)", execution_count=1)
    data = {"text/plain": repr(four_steps(3)), "text/html": four_steps(3)._repr_html_()}
    cell.outputs = [nbformat.v4.new_output("display_data", data)]
    book = nbformat.v4.new_notebook(metadata=browser.METADATA, cells=[cell])
    nbformat.write(book, lab_folder / "mine" / "from-elsewhere.ipynb")
    page = visit("from-elsewhere.ipynb").page
    shown = page.locator(".jp-OutputArea-output figure")
    assert shown.locator("strong").inner_text() == "3 isolated child"
    assert "in the new namespaces" in shown.inner_text()
    assert page.locator(".jp-OutputArea-output style").count() == 0
    shot(page, "not-trusted")


def test_notebook_03_as_a_person_works_through_it(visit):
    notebook = visit("03-the-first-container.ipynb")
    page = notebook.page
    last = len(nbformat.read(ROOT / "notebooks/03-the-first-container.ipynb", 4).cells) - 1
    notebook.work_through("display(Terminal(shell)")
    terminal = Terminal(page)
    terminal.wait_for(lambda lines: lines[-1] == "$")
    assert any(line.split()[:3] == ["root", "1", "0"] for line in terminal.answer("ps -ef"))
    assert terminal.answer("echo $$") == ["2"]

    picture = page.locator(".jp-OutputArea-output .lk-picture", has_text="the container").last

    def name(text):
        return picture.locator("li span, dd strong", has_text=re.compile(f"^{text}"))

    name("exe").nth(1).wait_for()  # the first is in the lab's pane, the second in the container's
    terminal.type("hostname box; sleep 1000")
    name("sleep").first.wait_for()
    name("box").wait_for()
    picture.scroll_into_view_if_needed()
    shot(page, "notebook-03")
    terminal.press("Control+c")
    name("sleep").first.wait_for(state="detached")
    terminal.type("vi")
    terminal.wait_for(lambda lines: "~" in lines)
    page.keyboard.type("ihello")  # shown when vi has read what it had asked the terminal before
    terminal.wait_for(lambda lines: "hello" in lines)
    page.keyboard.press("Escape")
    page.keyboard.type(":q!\n")
    terminal.wait_for(lambda lines: lines[-1] == "$")

    while f"Cell {last + 1}/" not in page.locator(".jp-StatusBar, #jp-main-statusbar").inner_text():
        page.keyboard.press("Escape")
        page.locator(".jp-Cell.jp-mod-active, .jp-Notebook").first.focus()
        page.keyboard.press("Shift+Enter")
        notebook.idle()
    assert page.locator(".jp-RenderedText[data-mime-type*=error]").count() == 0


def test_a_learners_notebook_shows_no_answer_and_a_quiz_without_its_code(visit):
    notebook = visit("02-namespaces.ipynb")
    page = notebook.page
    quiz = page.locator(".jp-CodeCell", has_text="Not run yet: run this cell (Shift+Enter)").first
    quiz.scroll_into_view_if_needed()
    assert quiz.locator(".jp-InputArea-editor").filter(visible=True).count() == 0
    shot(page, "mine-not-run")
    outputs = page.locator(".jp-OutputArea-output").all_inner_texts()
    assert {text.split()[0] for text in outputs} == {"Guess:"}
    notebook.work_through("guess = Quiz(")
    page.locator(".lk-quiz").get_by_role("radio", name="yes").wait_for()
    assert quiz.get_by_text("Does a plain child share").count() == 0
    shot(page, "mine-run")


def test_the_slider_of_notebook_04_steps_through_the_run(visit):
    notebook = visit("04-exec.ipynb")
    notebook.run_all()
    slider = notebook.page.get_by_label("Moment of the run")
    line = notebook.page.locator(".lk-timeline")
    slider.focus()
    said = []
    for _ in range(9):
        notebook.page.keyboard.press("ArrowRight")
        said.append(slider.get_attribute("aria-valuetext"))
    assert len(set(said)) == 9
    assert "first prompt" in said[-1] or "asks for" in said[-1], said[-1]
    row = line.locator(".lk-now tr.lk-calls")
    assert row.locator("td").all_inner_texts()[2:] == ["1", "/bin/sh"]
    line.scroll_into_view_if_needed()
    shot(notebook.page, "notebook-04")


def test_the_table_of_progress_leads_to_a_notebook(opened):
    page = opened("from labkit.course.progress import progress\nprogress()").page
    page.get_by_role("progressbar", name="Exercises passed").wait_for()
    page.get_by_role("link", name="05 The vanishing /proc").click()
    page.get_by_role("heading", name="05 The vanishing /proc").wait_for()
    assert page.url.endswith("/tree/05-the-vanishing-proc.ipynb")


def test_an_exercise_from_the_stub_to_passed(opened):
    head = "%load_ext labkit\nfrom labkit.exercise.check import check"
    notebook = opened(head, f"%%answer 03.1\n{stub('03.1')}", 'check("03.1")')
    page = notebook.page
    page.get_by_text("✗ 03.1 not yet").wait_for()
    shot(page, "exercise-not-yet")
    notebook.code(1).locator(".jp-InputArea-editor .cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(f"%%answer 03.1\n{solution('03.1')}")
    page.keyboard.press("Shift+Enter")
    page.keyboard.press("Shift+Enter")
    page.get_by_text("✓ 03.1 passed").wait_for()
    assert page.get_by_text("✗ 03.1 not yet").count() == 0
    shot(page, "exercise-passed")
    page = opened("from labkit.course.progress import progress\nprogress()").page
    page.get_by_text(re.compile(r"^1 of [0-9]+ exercises passed\.")).wait_for()
    shot(page, "progress")


def test_the_notebooks_names_are_shown_whole(lab_page):
    lab_page.set_viewport_size({"width": 1280, "height": 900})
    names = lab_page.locator(".jp-DirListing-itemText")
    names.first.wait_for()
    widths = names.evaluate_all(
        "all => all.map((e) => [e.innerText, e.scrollWidth, e.clientWidth])"
    )
    assert "05-the-vanishing-proc.ipynb" in [name for name, _, _ in widths]
    assert [name for name, needed, given in widths if needed > given] == []
