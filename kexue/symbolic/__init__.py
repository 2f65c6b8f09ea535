"""What SymPy lacks for this book's derivations (floor 0).

========================  ================================================================
``symbols``               symbols named by their TeX, guarded against non-raw strings
``equal``, ``Verdict``    are two sides equal? proved, measured, or refuted at a point
``Gaussian``              a law N(mean, var) with its full log density
``complete_square``       a log density quadratic in y -> the Gaussian
``log_mass``              log of the integral of exp(quadratic): every normalizer, exact
``marginal``              integrate x out of p(x) p(y|x)
``condition``             Bayes' rule: p(x|y) from p(x) and p(y|x)
``expectation``           of polynomials and exponentials of Gaussian variables
``integrate_by_parts``    derivatives moved off a function, the boundary term shown
``ito``                   E[phi(x after one SDE step)] to first order in dt
``fourier_sum``           sum of c_n exp(i n omega x)
``fourier_coefficients``  read the c_n off such a sum
``autocorrelation``       coefficients of |A|^2
``cumulants``             from raw moments
``log_mgf``               cumulant expansion of log E[exp(s X)]
``delta_method``          mean and variance of a function of small fluctuations
``power_tail``            asymptotic tail of a power-law sum
========================  ================================================================

One coordinate suffices wherever a law is isotropic: its coordinates are independent.
"""

from kexue.symbolic.calculus import integrate_by_parts, ito
from kexue.symbolic.equality import Verdict, equal
from kexue.symbolic.fourier import autocorrelation, fourier_coefficients, fourier_sum
from kexue.symbolic.gaussian import Gaussian, complete_square, condition, log_mass, marginal
from kexue.symbolic.moments import cumulants, delta_method, expectation, log_mgf
from kexue.symbolic.names import symbols
from kexue.symbolic.series import power_tail

__all__ = [
    "Gaussian",
    "Verdict",
    "autocorrelation",
    "complete_square",
    "condition",
    "cumulants",
    "delta_method",
    "equal",
    "expectation",
    "fourier_coefficients",
    "fourier_sum",
    "integrate_by_parts",
    "ito",
    "log_mass",
    "log_mgf",
    "marginal",
    "power_tail",
    "symbols",
]
