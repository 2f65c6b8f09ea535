"""What SymPy lacks for this book's derivations (floor 0).

===================  =====================================================================
``symbols``          symbols named by their TeX, guarded against non-raw strings
``equal``            are two sides equal? proved, measured or refuted with a counterexample
``Verdict``          what ``equal`` answers
``Gaussian``         a law N(mean, var) with its full log density
``complete_square``  a log density quadratic in y -> the Gaussian
``log_mass``         log of the integral of exp(quadratic): the normalizer, exact
``marginal``         integrate x out of p(x) p(y|x)
``condition``        Bayes' rule: p(x|y) from p(x) and p(y|x)
===================  =====================================================================

One coordinate suffices wherever a law is isotropic: its coordinates are independent.
"""

from kexue.symbolic.equality import Verdict, equal
from kexue.symbolic.gaussian import Gaussian, complete_square, condition, log_mass, marginal
from kexue.symbolic.names import symbols

__all__ = [
    "Gaussian",
    "Verdict",
    "complete_square",
    "condition",
    "equal",
    "log_mass",
    "marginal",
    "symbols",
]
