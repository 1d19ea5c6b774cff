"""Wrong answers of the kind that people give, one module a notebook.

`WRONG` maps an exercise to answers, each with words that its verdict must hold: the right hint.
"""
