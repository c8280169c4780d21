"""The stages of the fleet as an operator, or a lap, calls them: one function per stage.

What takes long runs in child processes; what was done stands in the catalog, as a row named by its
content, so that doing a stage again adds nothing. Read in the order of the loop: ``workshop`` (what every
stage works with), ``label``, ``freeze``, ``train``, ``model``, ``evaluate``, ``release``, ``rollout``.
"""
