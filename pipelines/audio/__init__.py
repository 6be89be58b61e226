"""Sound, for any task of it: files decoded and resampled, and kept as they are trained on. Imports no TensorFlow."""
