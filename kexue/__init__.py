"""The shared package of *Kexue, the executable book*: small rooms to read and to run.

Nothing is imported here, so ``import kexue`` is instant; import the room you need,
for instance ``from kexue import schedule``.
"""

__version__ = "0.1.0"
