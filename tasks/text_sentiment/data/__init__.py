"""Text data: from a source to splits of labelled texts. Imports no TensorFlow."""
