"""Says at once where nothing could be installed, and what to do instead.

make runs it with whatever Python it finds, so it is written for any: the wheels of the lock files exist for CPython
3.11 and later on Linux with glibc 2.28 (x86-64, ARM64) and on macOS with Apple silicon.
"""

import platform
import sys


def obstacle(system, machine, version, libc):
    """What stands in the way on such a machine, with the remedy; None where nothing does.

    The arguments are what platform.system(), platform.machine(), sys.version_info and platform.libc_ver() give.
    """
    if system == "Windows":
        return "Talweg runs on Linux and macOS. On Windows: wsl --install, then the same commands in its shell."
    if system == "Darwin" and machine != "arm64":
        return (
            "Talweg runs on Macs with Apple silicon: some libraries have no version for Intel any more. "
            "On Apple silicon take a Python for arm64; on an Intel Mac: docker compose up."
        )
    if system not in ("Linux", "Darwin"):
        return "Talweg runs on Linux and macOS, not on %s: docker compose up, on a machine that has either." % system
    if system == "Linux" and machine not in ("x86_64", "aarch64"):
        return "Talweg runs on x86-64 and ARM64 processors, not on %s: some libraries have no version for it." % machine
    if system == "Linux" and libc[0] != "glibc":
        return "Talweg needs a Linux with glibc, such as Debian, Ubuntu or Fedora (not Alpine): docker compose up."
    if system == "Linux" and tuple(map(int, libc[1].split(".")[:2])) < (2, 28):
        return "Talweg needs glibc 2.28 or later (Debian 10, Ubuntu 20.04, RHEL 8), got %s." % libc[1]
    if tuple(version[:2]) < (3, 11):
        return (
            "Talweg needs Python 3.11 or later, got %d.%d: make PYTHON=python3.12 takes another (pyenv, uv, your "
            "system's packages)." % tuple(version[:2])
        )
    return None


if __name__ == "__main__":
    sys.exit(obstacle(platform.system(), platform.machine(), sys.version_info, platform.libc_ver()))
