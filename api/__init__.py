"""The daemon: settings, composition, HTTP, WebSocket and who may do what."""
