"""The commands about the format of customers and settings: fields, schema."""

from __future__ import annotations

import json
from typing import Final

import click
import msgspec

from tranship.pipelines.cli.options import json_option
from tranship.pipelines.cli.output import print_json


@click.command("fields")
@json_option
def fields_command(as_json: bool) -> None:
    """List the fields of a customer and their rules."""
    from tranship.pipelines.cli import render

    fields = render.fields()
    if as_json:
        print_json(json.dumps({"fields": msgspec.to_builtins(fields)}, indent=1))
        return
    click.echo(render.of_fields(fields))


@click.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of a settings file, for editors."""
    from tranship.pipelines.settings_model import Settings

    print_json(json.dumps(Settings.model_json_schema(), indent=1))


COMMANDS: Final[tuple[click.Command, ...]] = (fields_command, schema_command)
