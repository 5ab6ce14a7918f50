"""The exceptions of amdsmi 7.0.2."""

from amdsmi.amdsmi_wrapper import AMDSMI_STATUS


class AmdSmiException(Exception):
    pass


class AmdSmiLibraryException(AmdSmiException):
    def __init__(self, err_code: int) -> None:
        super().__init__(err_code)
        self.err_code = abs(err_code)
        name = AMDSMI_STATUS.get(self.err_code, "UNKNOWN_ERROR")
        self.err_info = f"AMDSMI_STATUS_{name} - in words"

    def __str__(self) -> str:
        return f"Error code:\n\t{self.err_code} | {self.err_info}"

    def get_error_code(self) -> int:
        return self.err_code


class AmdSmiRetryException(AmdSmiLibraryException):
    def __init__(self) -> None:
        super().__init__(9)


class AmdSmiTimeoutException(AmdSmiLibraryException):
    def __init__(self) -> None:
        super().__init__(8)


class AmdSmiParameterException(AmdSmiException):
    def __init__(self, received: object, expected: type) -> None:
        super().__init__(f"Invalid parameter:\nActual type: {type(received)}\nExpected: {expected}")
