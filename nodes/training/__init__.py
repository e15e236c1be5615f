"""Makes the two small networks of the street from nothing: frames, training, export, evaluation, model card."""
