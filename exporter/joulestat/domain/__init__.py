"""The ground floor: frozen nouns, units, errors and the clock; standard library only, no I/O."""
