"""A tutor: solves by search, gives hints before answers, and checks the student's own steps.

``python -m examples.math_tutor``; as a graph, `create_math_tutor`.
"""

from examples.math_tutor.checks import Check
from examples.math_tutor.graph import create_math_tutor
from examples.math_tutor.nodes import Lesson

__all__ = ["Check", "Lesson", "create_math_tutor"]
