"""A stand-in for pyrsmi 1.1.0 where it found libamd_smi.so by itself."""
