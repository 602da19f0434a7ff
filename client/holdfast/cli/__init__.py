"""The `hold` command: one file per command in `commands/`, what they share beside this file."""
