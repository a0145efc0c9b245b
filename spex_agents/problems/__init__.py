"""Problems whose answers can be checked: kinds with their graders, files, and sets by name."""

from spex_agents.problems.coding import Coding
from spex_agents.problems.countdown import Countdown
from spex_agents.problems.files import read_problems
from spex_agents.problems.kinds import Problem, Stated
from spex_agents.problems.sets import SETS, ProblemSet, load

__all__ = [
    "SETS",
    "Coding",
    "Countdown",
    "Problem",
    "ProblemSet",
    "Stated",
    "load",
    "read_problems",
]
