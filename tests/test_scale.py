"""Hundreds of containers at once, and monitors that are killed at random."""

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor

MANY = int(os.environ.get("MANY", "200"))


def start(many, name):
    return many.ok("run", "-d", "--name", name, "small", "sleep", "1000").strip()


def test_hundreds_at_once_leave_nothing(many):
    names = [f"c{number}" for number in range(MANY)]
    with ThreadPoolExecutor(10) as pool:
        ids = list(pool.map(lambda name: start(many, name), names))
    assert len({*ids}) == MANY
    rows = many.rows()
    assert sorted(row["NAMES"] for row in rows) == sorted(names)
    assert {row["STATUS"][:3] for row in rows} == {"Up "}
    half = names[: MANY // 2]
    many.ok("stop", "-t", "0", *half)
    rows = many.rows("-a")
    assert {row["NAMES"] for row in rows if row["STATUS"].startswith("Exited (137)")} == {*half}
    assert {row["NAMES"] for row in rows if row["STATUS"].startswith("Up")} == {*names} - {*half}
    many.ok("rm", "-f", *names)  # what is left then, `many` looks for


def test_monitors_killed_at_random(many):
    names = [f"c{number}" for number in range(min(MANY, 60))]
    killed, dice = set(), random.Random(18)

    def live(name):
        start(many, name)
        if dice.random() < 0.4:
            many.kill_monitor(name)
            killed.add(name)
        many.rows("-a")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(live, names))
    states = {row["NAMES"]: row["STATUS"] for row in many.rows("-a")}
    assert {name for name, status in states.items() if status.startswith("Up")} == (
        {*names} - killed
    )
    assert all(states[name].startswith("Exited (137)") for name in killed)


def test_starters_killed_at_random(many):
    """Whenever the process that was called is killed, a name is whole or free in the end."""
    dice = random.Random(2)
    for number in range(20):
        run = many.background("run", "-d", "--name", f"c{number}", "small", "sleep", "1000")
        time.sleep(dice.random() * 0.1)
        run.kill()
        run.communicate()
    deadline = time.monotonic() + 60
    while any(row["STATUS"] == "Created" for row in many.rows("-a")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for row in many.rows("-a"):
        assert row["STATUS"].startswith(("Up", "Exited (137)")), row
