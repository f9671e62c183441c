"""A trained run in the file formats of other runtimes, each checked against imgreg's own probabilities."""
