"""The Python API: what the command line does, with results that show themselves in a notebook."""
