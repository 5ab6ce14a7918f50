"""From evidence to one decision: hold a limit, probe one, or say why there is no advice."""
