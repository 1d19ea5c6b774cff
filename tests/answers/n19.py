"""Notebook 19."""

from tests.answers.stub import solved

WRONG = {
    "19.1": [
        ("import subprocess\nsubprocess.run(['true'])", "sleep 1000"),
        (solved("19.1", "(20, 20)", "(20, 30)"), "Set both"),
        (solved("19.1", "RLIMIT_NOFILE", "RLIMIT_NPROC"), "the one for open files"),
        (
            "import resource, subprocess\n"
            "resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))\n"
            "subprocess.run(['sleep', '1000'])",
            "for the child",
        ),
    ],
    "19.2": [
        (solved("19.2", '"memory.low", size', '"memory.max", size'), "the group's file"),
        (solved("19.2", '"memory.low", size', '"memory.low", count'), "what makes bytes"),
        (solved("19.2", '"--memory":', '"--memory-limit":'), "All others"),
    ],
}
