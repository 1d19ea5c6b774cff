"""Notebook 15."""

from tests.answers.stub import solved

WRONG = {
    "15.1": [
        ("import os\nalive = os.listdir('containers')", "ask the lock"),
        (solved("15.1", "if held and", "if True or"), "ask the lock"),
        (solved("15.1", ' and json.load(file)["status"] == "running"', ""), "runs no more"),
        (solved("15.1", "if held and", "if not held and"), "ask the lock"),
        ("alive = 'web'", "alive = [ … ]"),
        ("alive = []", "its lock is held"),
    ],
    "15.2": [
        ("print('done')", "json.dump"),
        (
            solved("15.2", '"state.new", "w"', '"state.json", "w"').replace("os.rename", "print"),
            "over",
        ),
        (solved("15.2", "os.rename", "import shutil; shutil.copy"), "over"),
        (solved("15.2", ', "exit": 3', ""), "json.dump"),
    ],
    "15.3": [
        (solved("15.3", 'option == "-aq" or ', ""), "also those"),
        (solved("15.3", 'print(state["id"], flush=True)', "show([state])"), "no header"),
        (solved("15.3", '["ps", "-a"]', '["ps", "-x"]'), "as before"),
    ],
}
