import subprocess
import sys

HEAVY = (
    "asyncio",
    "concurrent.futures",
    "email",
    "hashlib",
    "http",
    "multiprocessing",
    "pathlib",
    "ssl",
    "subprocess",
    "tempfile",
    "urllib",
    "uuid",
)


def new_modules_of(statement: str) -> set[str]:
    program = (
        f"import sys; before = set(sys.modules); {statement}; "
        "print('\\n'.join(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_importing_joulestat_loads_the_light_part_of_the_standard_library_only() -> None:
    loaded = new_modules_of("import joulestat")

    assert "joulestat.client.run" in loaded
    assert set() == {name for name in loaded if name.split(".")[0] in HEAVY}
    foreign = {
        name for name in loaded if name.split(".")[0] not in sys.stdlib_module_names | {"joulestat"}
    }
    assert set() == foreign


def test_importing_joulestat_starts_no_thread_and_opens_nothing() -> None:
    program = (
        "import os, threading; before = set(os.listdir('/proc/self/fd')); import joulestat; "
        "print(threading.active_count(), set(os.listdir('/proc/self/fd')) - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert "1 set()" == done.stdout.strip()


def test_training_code_does_not_load_the_admin_client() -> None:
    assert "joulestat.client.admin" not in new_modules_of("import joulestat")
