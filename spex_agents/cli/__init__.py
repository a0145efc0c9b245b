"""The command line ``spex``.

Standard output carries results alone; all else goes to standard error. Exit codes: 0 answered, 1 no
answer, 2 bad input, 3 an engine, a reward or a policy failed, 130 interrupted.
"""

from __future__ import annotations

import typer

from spex_agents.cli.bench import bench
from spex_agents.cli.compare import compare_command
from spex_agents.cli.exits import INTERRUPTED, end_interrupted
from spex_agents.cli.gateway import gateway
from spex_agents.cli.server import doctor, model, serve_command
from spex_agents.cli.solve import demo, solve
from spex_agents.cli.trace import trace
from spex_agents.cli.view import view

app = typer.Typer(
    help="Tree-of-thought search that does not wait for its rewards.",
    epilog="Exit codes: 0 answered, 1 no answer, 2 bad input, 3 engine or reward failed, "
    "130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(solve)
app.command()(demo)
app.add_typer(bench, name="bench")
app.add_typer(trace, name="trace")
app.add_typer(gateway, name="gateway")
app.add_typer(model, name="model")
app.command("compare")(compare_command)
app.command("serve")(serve_command)
app.command()(doctor)
app.command()(view)


def main() -> None:
    """The entry point ``spex``."""
    try:
        app()
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            end_interrupted()
        raise
