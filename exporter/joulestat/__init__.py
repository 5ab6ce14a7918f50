"""joulestat: a thermostat for GPU energy.

``import joulestat`` is what training code does, so it loads the client alone.
"""

__version__ = "0.1.0"
