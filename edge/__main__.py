"""``python -m edge``: the ``ringroad`` command where its script is not on the path."""

from edge.cli.root import main

if __name__ == "__main__":
    main()
