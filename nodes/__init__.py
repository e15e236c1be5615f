"""The nodes of perception: one kind a file, `messages` for what travels between them, `ops` for pure functions."""
