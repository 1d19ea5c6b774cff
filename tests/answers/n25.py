"""Notebook 25."""

from tests.answers.stub import solved

WRONG = {
    "25.1": [
        (solved("25.1", '["readonly"] = True', '["readonly"] = "yes"'), "becomes `true`"),
        (solved("25.1", '"/tmp"', '"/var/tmp"'), "destination `/tmp`"),
        (solved("25.1", '["noexec", "size=1m"]', '["size=1m"]'), "noexec"),
        (solved("25.1", '["noexec", "size=1m"]', '["noexec"]'), "an option of tmpfs"),
        (solved("25.1", '["mounts"].append(notes)', '["mounts"] = [notes]'), "leave the others"),
        (solved("25.1", "print(json.dumps(config))", "print(config)"), "json.dumps"),
    ],
    "25.2": [
        (solved("25.2", 'if "tmpcopyup" in words:', 'if kind == "tmpfs":'), "Only where"),
        (solved("25.2", "symlinks=True, ", ""), "a link"),
        (solved("25.2", "copytree(below, target", "copytree(target, target"), "lies below"),
    ],
}
