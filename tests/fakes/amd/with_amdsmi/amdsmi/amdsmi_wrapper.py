"""Loads the library as ROCm's wrapper does, and fails as it does where there is no ROCm."""

import os

AMDSMI_STATUS = {
    0: "SUCCESS",
    1: "INVAL",
    2: "NOT_SUPPORTED",
    3: "NOT_YET_IMPLEMENTED",
    7: "API_FAILED",
    8: "TIMEOUT",
    9: "RETRY",
    10: "NO_PERM",
    12: "IO",
    14: "FILE_ERROR",
    18: "INIT_ERROR",
    30: "BUSY",
    31: "NOT_FOUND",
    32: "NOT_INIT",
    34: "DRIVER_NOT_LOADED",
    40: "NO_DATA",
    43: "UNEXPECTED_DATA",
    0xFFFF_FFFF: "UNKNOWN_ERROR",
}

_libraries: dict[str, object] = {}

if "FAKE_AMD_NO_ROCM" not in os.environ:
    _libraries["libamd_smi.so"] = object()
else:
    print("libamd_smi.so: cannot open shared object file: No such file or directory")
    print("Unable to find libamd_smi.so library try installing amd-smi-lib")

amdsmi_free_name_value_pairs = _libraries["libamd_smi.so"]
