"""python -m imgreg: the same as the imgreg command."""

from imgreg.cli import main

if __name__ == "__main__":  # the readers' processes import this file too
    main()
