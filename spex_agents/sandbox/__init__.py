"""Programs that nobody has read, run where they can do no harm.

No network, a file system of their own, no system calls but those of ordinary programs, and caps on
computing time, memory, processes, output and files; when a program ends, is killed or is cancelled,
all that it started ends with it.
"""

from spex_agents.sandbox.isolation import Isolation
from spex_agents.sandbox.judging import Verdict, judge
from spex_agents.sandbox.limits import Outcome, SandboxLimits
from spex_agents.sandbox.run import run
from spex_agents.sandbox.workspace import Workspace

__all__ = ["Isolation", "Outcome", "SandboxLimits", "Verdict", "Workspace", "judge", "run"]
