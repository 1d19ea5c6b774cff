"""The notebooks as source of the runtime: the learner's cells, what was passed, JupyterLab."""
