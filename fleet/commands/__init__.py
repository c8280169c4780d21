"""The operator's commands, one file per group.

Each is a thin call of a stage's ``order``. Stages are imported inside the commands: help needs no torch.
A lap calls the same stages.
"""
