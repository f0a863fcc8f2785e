"""The command line: every command is one call into a room."""
