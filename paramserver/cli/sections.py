"""The list of commands by what they are for."""

from __future__ import annotations

from typing import Any, Final

from typer.core import TyperGroup

SECTIONS: Final = {
    "Run a server": ("serve", "config", "doctor", "token"),
    "See what it holds": ("ls", "tree", "get"),
    "Change it": ("set", "optimizers"),
    "To and from disk": ("save", "restore", "checkpoints", "inspect", "journal", "export", "import"),
}


class Sections(TyperGroup):
    """A command whose help lists the commands below it in sections, in an order that makes sense."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names, in the order of the sections."""
        return [name for names in SECTIONS.values() for name in names if name in self.commands]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the sections."""
        width = max(map(len, self.commands))
        for title, names in SECTIONS.items():
            found = [self.commands[name] for name in names if name in self.commands]
            rows = [(str(command.name).ljust(width), command.get_short_help_str(80)) for command in found]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
