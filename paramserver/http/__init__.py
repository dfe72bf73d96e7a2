"""The door: HTTP in front of the engine. Nothing below this room knows of requests, media types or sockets."""
