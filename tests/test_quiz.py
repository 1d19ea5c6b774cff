"""Quiz: what is asked and said, also of odd things. tests/test_browser_quiz.py has the page."""

import re
from xml.etree import ElementTree

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from traitlets.config import Config

from labkit.view import Quiz
from labkit.view.quiz import QuizError
from tools.save import METADATA, strip

MARKUP = "</p><script>alert(1)</script>&\x1b[31m\u202e"


def forms(shown):
    data, _ = shown._repr_mimebundle_()
    return data["text/plain"], data["text/html"]


@pytest.fixture
def quiz():
    return Quiz("What is the host name outside?", "box", "lab")


def test_the_text_form_is_the_question_and_its_choices(quiz):
    assert repr(quiz) == "Guess: What is the host name outside?\n( ) box   ( ) lab"


def test_choices_that_are_too_long_for_one_line_have_one_each():
    text = repr(Quiz("Which?", "a" * 60, "b" * 60))
    assert text.split("\n")[1:] == ["( ) " + "a" * 60, "( ) " + "b" * 60]


def test_the_whole_text_is_saved_beside_the_view():
    quiz = Quiz("word " * 100, "box", "lab")  # ipywidgets itself cuts a text off after 110
    data, _ = quiz._repr_mimebundle_()
    assert data["text/plain"] == repr(quiz)
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == quiz.model_id


def test_neither_a_guess_nor_the_answer_changes_what_is_saved(quiz):
    before = forms(quiz)
    quiz.guess = 0
    assert forms(quiz) == before
    quiz.answer("lab")
    assert forms(quiz) == before


def test_an_answer_reads_the_same_whatever_was_guessed():
    said = set()
    for guess in (None, 0, 1):
        quiz = Quiz("Which?", "box", "lab")
        quiz.guess = guess
        answer = quiz.answer("lab")
        said.add((repr(answer), answer._repr_html_()))
    ((text, html),) = said
    assert text == "The kernel says: lab"
    assert "The kernel says: <strong>lab</strong>" in html


def test_the_page_is_told_which_choice_is_right(quiz):
    assert quiz.right is None
    quiz.answer("lab")
    assert quiz.right == 1


def test_the_kernel_has_the_last_word_when_it_is_asked_again(quiz):
    quiz.answer("lab")
    assert repr(quiz.answer("box")) == "The kernel says: box"
    assert quiz.right == 0


@pytest.mark.parametrize(
    ("choices", "value", "right"),
    [
        ((0, 1, 2), 2, 2),
        ((0, 1, 2), "2", 2),
        ((True, False), False, 1),
        ((None, "lab"), None, 0),
        (("box", "lab"), "lab\n", 1),  # as a shell prints it
        (("the lab", "box"), "the  lab", 0),
        (("漢字 🙂", MARKUP), MARKUP, 1),
    ],
)
def test_values_are_compared_by_what_str_makes_of_them(choices, value, right):
    quiz = Quiz("Which?", *choices)
    quiz.answer(value)
    assert quiz.right == right


@pytest.mark.parametrize("value", ["oops", "", "Lab", 1, None])
def test_an_answer_that_is_none_of_the_choices_is_named_and_changes_nothing(quiz, value):
    with pytest.raises(ValueError, match=re.escape(f"{str(value)!r} is none of")) as caught:
        quiz.answer(value)
    assert "(box, lab)" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert quiz.right is None


@pytest.mark.parametrize(
    "asked",
    [
        ("Which?",),
        ("Which?", "lab"),
        ("Which?", "lab", "box", "lab"),
        ("Which?", 1, "1"),
        ("Which?", "lab", " "),
        ("", "lab", "box"),
    ],
)
def test_a_question_that_cannot_be_asked(asked):
    with pytest.raises(QuizError, match="a question and two choices or more") as caught:
        Quiz(*asked)
    assert repr(str(asked[0])) in str(caught.value)


def test_nothing_in_it_is_markup():
    quiz = Quiz(MARKUP, MARKUP, "lab")
    for text in (quiz._repr_html_(), quiz.answer(MARKUP)._repr_html_()):
        root = ElementTree.fromstring(f"<div>{text}</div>")
        assert {element.tag for element in root.iter()} <= {"div", "p", "strong", "em"}
        assert "<script>alert(1)" in "".join(root.itertext())
    assert repr(quiz).replace("\n", "").isprintable()


def test_backticks_make_code_and_one_alone_stays():
    assert "<code>ps &lt;1&gt;</code>" in Quiz("What does `ps <1>` say?", 1, 2)._repr_html_()
    assert "a ` alone" in Quiz("a ` alone", 1, 2)._repr_html_()


def test_in_a_notebook_a_wrong_answer_is_one_line_and_no_widget_is_saved(tmp_path):
    book = nbformat.v4.new_notebook(metadata=METADATA)
    cells = (
        "from labkit.view import Quiz",
        "guess = Quiz('Which?', 'box', 'lab')\nguess",
        "guess.answer('lab')",
        "guess.answer('oops')",
    )
    book.cells = [nbformat.v4.new_code_cell(cell) for cell in cells]
    local = {"transport": "ipc", "connection_file": f"{tmp_path}/kernel.json"}
    client = NotebookClient(book, kernel_name="labkit", config=Config({"KernelManager": local}))
    with pytest.raises(CellExecutionError):
        client.execute()
    strip(book)
    _, shown, answered, wrong = [cell.outputs for cell in book.cells]
    assert [set(output.data) for output in shown] == [{"text/plain", "text/html"}]
    assert [output.data["text/plain"] for output in answered] == ["The kernel says: lab"]
    (error,) = wrong
    (line,) = error.traceback
    assert line.startswith("QuizError: the answer 'oops' is none of the choices (box, lab)")
