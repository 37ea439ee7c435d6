"""Ready experiments on top of `keras_influence`: `python -m applications`."""
