"""One module for each command: its options, the call of an engine, and the printing of what that returned."""
