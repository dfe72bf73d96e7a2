"""One module for each contestant, run by the Python of its own environment: nothing of ours is there but what it imports."""
