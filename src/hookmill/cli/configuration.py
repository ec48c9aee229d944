"""`hookmill config`: the configuration, checked and shown; secrets never."""

import typer

from hookmill.cli.options import AsJson, ConfigPath
from hookmill.cli.output import err, print_json, print_table
from hookmill.cli.setup import load_setup
from hookmill.config.show import rows, shown

app = typer.Typer(name="config", help="The configuration.", no_args_is_help=True)


@app.command()
def check(config: ConfigPath = None) -> None:
    """Check everything that can be checked without Kafka, secrets included."""
    setup = load_setup(config)
    for endpoint in setup.endpoints.values():
        setup.secrets(endpoint)
    for name in setup.config.handlers:
        setup.handler(name)
    setup.connection()
    err.print(
        f"the configuration is good: {len(setup.endpoints)} endpoints, "
        f"{len(setup.config.handlers)} handlers, {len(setup.rules)} routes, "
        f"{len(setup.topics())} topics"
    )


@app.command()
def show(config: ConfigPath = None, as_json: AsJson = False) -> None:
    """Every option as it holds, defaults and the environment included."""
    found = load_setup(config).config
    if as_json:
        print_json(shown(found))
    else:
        print_table(("option", "value"), rows(found))
