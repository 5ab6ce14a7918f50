"""From slices of history to energy and time per step at each limit, with honest errors."""
