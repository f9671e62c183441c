"""From features to a classifier: the plan of a head, its Keras model, its training, and its answer without Keras."""
