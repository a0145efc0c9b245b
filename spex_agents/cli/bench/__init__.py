"""``spex bench``: how much sooner the same tree comes."""

from __future__ import annotations

import typer

from spex_agents.cli.bench.gpu import gpu
from spex_agents.cli.bench.never_slower import never_slower
from spex_agents.cli.bench.predictor import predictor
from spex_agents.cli.bench.real import real
from spex_agents.cli.bench.scaling import scaling
from spex_agents.cli.bench.sim import sim

bench = typer.Typer(help="Measure: speculation off against on.", no_args_is_help=True)
for command in (sim, never_slower, scaling, predictor, real, gpu):
    bench.command()(command)
