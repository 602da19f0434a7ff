"""Implementations of the ports that the supervisor needs: SQLite and memory."""
