"""Holdfast's client: the SDK and the `hold` command."""
