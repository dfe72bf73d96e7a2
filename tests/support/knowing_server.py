"""`python knowing_server.py serve ...`: the real server, which knows a head from the first time on that it comes.

So a suite that says everything once or twice is about the short way as much as about the long one.
"""

from __future__ import annotations

from paramserver.cli import main
from paramserver.http.heads import KnownHeads

if __name__ == "__main__":
    KnownHeads.learns_at_first_sight = True
    main()
