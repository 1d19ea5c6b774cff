"""The stubs and solutions that the notebooks hold."""

from labkit.course import workbook
from labkit.course.workbook import ANSWER, SOLUTION


def stub(number):
    return workbook.exercises(workbook.notebook(number[:2])[1], ANSWER)[number]


def solution(number):
    return workbook.exercises(workbook.notebook(number[:2])[1], SOLUTION)[number]


def solved(number, *changes):
    """The solution with one text after the other replaced: old, new, old, new …"""
    text = solution(number)
    for old, new in zip(changes[::2], changes[1::2], strict=True):
        assert old in text, old
        text = text.replace(old, new)
    return text
