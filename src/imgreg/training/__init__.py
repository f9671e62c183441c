"""The Python API, one file a command: train, compare, predict, preview. Each orders the rooms below it; none prints."""
