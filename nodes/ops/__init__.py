"""Pure functions on arrays: geometry, images, boxes. No state, no framework."""
