"""What the numbers of a run mean: verdicts and comparisons. NumPy and SciPy, no photos, no TensorFlow."""
