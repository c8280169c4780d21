"""The operator's single commands of the learning loop, one file per group.

Each is a thin call of the stage of the same name in ``fleet.stages``, which are imported inside the
commands: help needs no torch. A lap calls the same stages.
"""
