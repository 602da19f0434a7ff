"""One file per command, or per small group of commands; imported when the command is called."""
