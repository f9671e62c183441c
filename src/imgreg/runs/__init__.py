"""What a training leaves behind, as plain numbers and plain files. No Keras, no TensorFlow."""
