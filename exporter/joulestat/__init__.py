"""joulestat: a thermostat for GPU energy.

``import joulestat`` is what training code does, so it loads the client alone.
"""

from joulestat.client.run import Run as Run
from joulestat.client.start import init as init

__version__ = "0.1.0"
