"""Commands that look after an installation."""

import typer

from hookmill.cli import (
    broker,
    configuration,
    dlq,
    providers,
    replay,
    routes,
    scaling,
    schemas,
    topics,
)
from hookmill.cli.doctor import command as doctor

app = typer.Typer()


app.command("doctor", rich_help_panel="Look after it")(doctor.doctor)
app.command("replay", rich_help_panel="Look after it")(replay.replay)
app.command("scaling", rich_help_panel="Look after it")(scaling.scaling)
for group in (broker, topics, dlq, providers, routes, configuration, schemas):
    app.add_typer(group.app, rich_help_panel="Look after it")
