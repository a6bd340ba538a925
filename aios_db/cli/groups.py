"""Command groups that import a command when it is used."""

from __future__ import annotations

from importlib import import_module

import click


class LazyGroup(click.Group):
    """A group whose commands are named by module, so that a command pays only for its own imports."""

    def __init__(self, *args: object, lazy: dict[str, str] | None = None, **options: object) -> None:
        super().__init__(*args, **options)  # type: ignore[arg-type]
        self.lazy = lazy or {}

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the commands in the order they are declared."""
        return [*self.lazy, *(name for name in super().list_commands(context) if name not in self.lazy)]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Import a command."""
        if name not in self.lazy:
            return super().get_command(context, name)
        module, attribute = self.lazy[name].split(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command
