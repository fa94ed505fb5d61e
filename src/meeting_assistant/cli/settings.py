"""The command `settings`: every variable, its effective value and its source."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from meeting_assistant.config import effective, load_settings, unknown_variables


def show_settings() -> None:
    """Print the table; secrets are masked."""
    table = Table("Variable", "Value", "From", title="Effective settings", title_justify="left")
    for variable, value, source, _ in effective(load_settings()):
        table.add_row(variable, value, source)
    console = Console()
    console.print(table)
    for warning in unknown_variables():
        console.print(f"Warning: {warning}", markup=False)
