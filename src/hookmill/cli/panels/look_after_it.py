"""Commands that look after an installation."""

from typing import Annotated

import typer

from hookmill.cli import broker, configuration, dlq, providers, routes, scaling, schemas, topics
from hookmill.cli.doctor import command as doctor
from hookmill.cli.options import AsJson, ConfigPath

app = typer.Typer()


@app.command("doctor", rich_help_panel="Look after it")
def doctor_command(
    config: ConfigPath = None,
    role: Annotated[
        list[str] | None,
        typer.Option(
            help="Ask Kafka for the permissions of this role alone: ingress, dedup, normalize, "
            "route, handler-NAME, or of people's tools: dlq, topics, look. May be repeated.",
            show_default=False,
        ),
    ] = None,
    acls: Annotated[
        str | None,
        typer.Option(
            metavar="PRINCIPAL", show_default=False,
            help="Look at nothing: print the kafka-acls.sh lines that allow this principal "
            "(User:hookmill) what the roles need.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Look at everything that hookmill stands on, and say what to do about it.

    Configuration, secrets, certificates, ports, open files, disk, ledgers and services; Kafka's
    version, brokers, topics and their settings, copies in sync, permissions, and its clock against
    this machine's. Nothing is changed and nothing written.

    Each finding is ok, a warning or a failure, with what to do. Status 1 if there is a failure, 2
    if the configuration cannot be read. Run it where the processes run, as their user.
    """
    if acls is not None:
        doctor.print_acls(config, acls, role or ())
    else:
        raise typer.Exit(doctor.run(config, wanted_roles=role or (), as_json=as_json))


app.command("scaling", rich_help_panel="Look after it")(scaling.scaling)
for group in (broker, topics, dlq, providers, routes, configuration, schemas):
    app.add_typer(group.app, rich_help_panel="Look after it")
