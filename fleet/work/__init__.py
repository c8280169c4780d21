"""Tools of every stage: the ``workspace``, and child processes that leave nothing behind (``process``)."""
