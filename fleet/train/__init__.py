"""Train networks: ``order`` says what, in the parent; ``job`` fits one network, in a child process."""
