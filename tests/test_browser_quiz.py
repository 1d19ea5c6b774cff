"""A quiz in the page, as a person meets it, with the keyboard and with a screen reader too.

Screenshots go to `build/screenshots`; look at them after a change to what a page shows.
"""

import pytest

from tests.helpers.course import ROOT

SHOTS = ROOT / "build" / "screenshots"
QUIZ = """from labkit.view import Quiz
guess = Quiz("A process in a new UTS namespace sets the host name to `box`. "
             "What is it outside, afterwards?",
             "box", "lab", "nobody knows, as only the new one has a name")
guess"""
ANSWER = "guess.answer('lab')"


@pytest.fixture
def asked(opened):
    """Opens a notebook with the given cells and runs the first of them."""

    def open_cells(*cells, **options):
        notebook = opened(*cells, run=False, **options)
        notebook.run(0)
        radio(notebook.page, "box").first.wait_for()
        notebook.idle()
        return notebook

    return open_cells


def radio(page, name):
    return page.get_by_role("radio", name=name)


def says(page, words):
    page.locator(".lk-quiz").get_by_role("status").get_by_text(words, exact=True).first.wait_for()


def chosen(page):
    """The place of what is chosen, for each view."""
    return page.locator(".lk-quiz").evaluate_all(
        "all => all.map(q => [...q.querySelectorAll('input')].findIndex(i => i.checked))"
    )


def focused(page):
    return page.evaluate("document.activeElement.value ?? document.activeElement.className")


def reach_the_choices(page):
    """Tab backwards, from the cell that is next, to the radio buttons."""
    for _ in range(12):
        page.keyboard.press("Shift+Tab")
        if page.evaluate("document.activeElement.matches('.lk-quiz input')"):
            return
    raise AssertionError(f"the focus is on {focused(page)}")


def shot(page, name):
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.locator("#jupyterlab-splash").wait_for(state="detached")  # a new theme fades in
    page.screenshot(path=SHOTS / f"{name}.png")


def test_with_the_keyboard_alone_from_the_guess_to_the_answer(asked):
    notebook = asked(QUIZ, ANSWER)
    page = notebook.page
    says(page, "Choose, then run the experiment below.")
    reach_the_choices(page)
    page.keyboard.press("Space")
    assert chosen(page) == [2]  # from below one comes to the last
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert chosen(page) == [0]
    shot(page, "quiz-focus")
    page.keyboard.press("Shift+Enter")  # runs nothing, and goes on to the experiment
    assert page.evaluate("document.activeElement.matches('.jp-Cell:nth-child(2)')")
    assert page.locator(".jp-InputPrompt").all_inner_texts() == ["[1]:", "[ ]:"]
    page.keyboard.press("Shift+Enter")
    says(page, "You guessed box. It is lab.")
    notebook.idle()
    assert page.locator(".jp-InputPrompt").all_inner_texts()[:2] == ["[1]:", "[2]:"]
    assert page.locator(".jp-OutputArea-output").get_by_text("The kernel says: lab").count() == 1


def test_letters_are_not_the_notebooks_and_escape_gives_the_keyboard_back(asked):
    notebook = asked(QUIZ, ANSWER)
    page = notebook.page
    radio(page, "lab").check()
    for key in ("d", "d", "x", "b", "a", "m", "Enter", "Control+Enter", "Alt+Enter"):
        page.keyboard.press(key)
    assert page.locator(".jp-Cell").count() == 2
    assert page.locator(".jp-CodeCell").count() == 2
    assert chosen(page) == [1]
    assert focused(page) == "1"
    page.keyboard.press("Escape")
    page.keyboard.press("b")  # a new cell below
    page.locator(".jp-Cell").nth(2).wait_for()


def test_what_a_screen_reader_finds(asked):
    notebook = asked(QUIZ, ANSWER)
    page = notebook.page
    question = (
        "Guess: A process in a new UTS namespace sets the host name to box. "
        "What is it outside, afterwards?"
    )
    group = page.get_by_role("group", name=question, exact=True)
    state = group.get_by_role("status")
    assert [state.aria_snapshot()] == ["- status: Choose, then run the experiment below."]
    assert group.get_by_role("radio", checked=False, disabled=False).count() == 3
    radio(page, "box").check()
    assert group.get_by_role("radio", name="box", exact=True, checked=True).count() == 1
    notebook.run(1)
    says(page, "You guessed box. It is lab.")
    wrong = group.get_by_role("radio", name="box your guess", exact=True)
    right = group.get_by_role("radio", name="lab ✓ the kernel’s answer", exact=True)
    assert wrong.aria_snapshot() == '- radio "box your guess" [checked] [disabled]'
    assert right.aria_snapshot() == '- radio "lab ✓ the kernel’s answer" [disabled]'
    assert state.evaluate("e => e.innerText") == "You guessed box. It is lab."


def test_after_the_answer_nothing_can_be_changed_until_the_cell_runs_again(asked):
    notebook = asked(QUIZ, ANSWER)
    page = notebook.page
    radio(page, "lab").check()
    notebook.run(1)
    says(page, "You guessed lab, and so it is.")
    shot(page, "quiz-right")
    page.locator(".lk-quiz label").first.click(force=True)
    assert chosen(page) == [1]
    radio(page, "lab").focus()
    for key in ("ArrowDown", "ArrowUp", "ArrowUp", "Space"):
        page.keyboard.press(key)
        assert chosen(page) == [1]
    notebook.run(0)
    says(page, "Choose, then run the experiment below.")
    assert chosen(page) == [-1]
    radio(page, "box").check()
    notebook.run(1)
    says(page, "You guessed box. It is lab.")


def test_who_has_not_guessed_is_told_so_gently(asked):
    notebook = asked(QUIZ, ANSWER)
    notebook.run(1)
    says(notebook.page, "You had not guessed yet. It is lab.")


def test_a_guess_that_the_kernel_has_no_time_for_counts(asked, tmp_path):
    wait = f"import os, time\nwhile not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.05)"
    notebook = asked(QUIZ, f"{wait}\n{ANSWER}")
    page = notebook.page
    notebook.run(1)
    page.get_by_text("Container lab | Busy").wait_for()
    radio(page, "box").check()
    radio(page, "lab").check()
    (tmp_path / "go").touch()
    says(page, "You guessed lab, and so it is.")
    notebook.idle()
    assert chosen(page) == [1]


def test_two_views_are_in_step(asked):
    notebook = asked(QUIZ, "guess", ANSWER)
    page = notebook.page
    notebook.run(1)
    page.locator(".lk-quiz").nth(1).wait_for()
    radio(page, "lab").nth(1).check()
    assert chosen(page) == [1, 1]
    radio(page, "box").nth(0).check()
    assert chosen(page) == [0, 0]
    notebook.run(2)
    says(page, "You guessed box. It is lab.")
    assert page.locator(".lk-state").all_inner_texts() == ["You guessed box. It is lab."] * 2


def test_a_page_that_is_loaded_again_shows_the_guess_and_the_answer(asked):
    notebook = asked(QUIZ, ANSWER, alone=True)
    page = notebook.page
    radio(page, "box").check()
    notebook.idle()
    notebook.command("File", "docmanager:save")
    page.locator(".jp-mod-dirty").wait_for(state="detached")
    notebook.load()
    radio(page, "box").wait_for()
    assert chosen(page) == [0]
    notebook.run(1)
    says(page, "You guessed box. It is lab.")
    notebook.command("File", "docmanager:save")
    page.locator(".jp-mod-dirty").wait_for(state="detached")
    notebook.load()
    says(page, "You guessed box. It is lab.")
    assert chosen(page) == [0]


def test_a_kernel_that_starts_anew_leaves_something_to_read(asked):
    notebook = asked(QUIZ, ANSWER, "guess = Quiz('And now?', 'box', 'lab')\nguess")
    page = notebook.page
    radio(page, "box").check()
    notebook.run(1)
    notebook.run(2)
    page.locator(".lk-quiz").nth(1).wait_for()
    notebook.idle()
    notebook.command("Kernel", "kernelmenu:restart")
    page.locator(".jp-Dialog button.jp-mod-warn").click()
    says(page, "The kernel has ended. Run this cell again to guess.")
    says(page, "You guessed box. It is lab.")
    notebook.idle()
    assert radio(page, "box").count() == 2
    radio(page, "box").nth(1).check()
    says(page, "The kernel has ended. Run this cell again to guess.")
    shot(page, "quiz-kernel-gone")


def test_a_kernel_that_was_shut_down_is_noticed_by_the_next_guess(asked):
    notebook = asked(QUIZ)
    page = notebook.page
    notebook.command("Kernel", "kernelmenu:shutdown")
    page.get_by_text("No Kernel").first.wait_for()
    radio(page, "box").check()
    says(page, "The kernel has ended. Run this cell again to guess.")
    assert chosen(page) == [0]


def test_it_fits_a_narrow_window_in_both_themes(asked):
    notebook = asked(QUIZ, ANSWER, "guess.answer('nobody knows, as only the new one has a name')")
    page = notebook.page
    radio(page, "box").check()
    shot(page, "quiz-light")
    notebook.theme("JupyterLab Dark")
    shot(page, "quiz-dark")
    notebook.run(1)
    says(page, "You guessed box. It is lab.")
    page.mouse.move(0, 0)
    shot(page, "quiz-answered-dark")
    notebook.theme("JupyterLab Light")
    shot(page, "quiz-answered-light")
    page.keyboard.press("Control+b")  # without the files at the side
    page.set_viewport_size({"width": 400, "height": 800})
    wider = "e => e.scrollWidth > e.clientWidth"
    quiz = page.locator(".lk-quiz")
    assert not quiz.evaluate(wider)
    assert not page.locator(".jp-OutputArea-output", has=quiz).evaluate(wider)
    notebook.run(2)
    says(page, "You guessed box. It is nobody knows, as only the new one has a name.")
    shot(page, "quiz-narrow")


def test_the_saved_form_can_be_read_without_a_kernel(visit):
    notebook = visit("00-start-here.ipynb", alone=True)
    page = notebook.page
    saved = page.locator(".jp-RenderedHTML", has_text="Guess:").first
    saved.scroll_into_view_if_needed()
    assert saved.locator("em").all_inner_texts() == ["box", "lab"]
    assert "Not run yet" in saved.inner_text()
    shot(page, "quiz-saved")
    notebook.work_through("guess.answer(")
    says(page, "You had not guessed yet. It is lab.")
    page.locator(".lk-quiz").scroll_into_view_if_needed()
    shot(page, "quiz-notebook-00")
    page.close()
