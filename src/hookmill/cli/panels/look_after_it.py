"""Commands that look after an installation."""

from typing import Annotated

import typer

from hookmill.cli import broker, configuration, dlq, providers, replay, routes, scaling, schemas, topics
from hookmill.cli.doctor import command as doctor
from hookmill.cli.options import AsJson, ConfigPath

app = typer.Typer()


app.command("doctor", rich_help_panel="Look after it")(doctor.doctor)
app.command("replay", rich_help_panel="Look after it")(replay.replay)
app.command("scaling", rich_help_panel="Look after it")(scaling.scaling)
for group in (broker, topics, dlq, providers, routes, configuration, schemas):
    app.add_typer(group.app, rich_help_panel="Look after it")
