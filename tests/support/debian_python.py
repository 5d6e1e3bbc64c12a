"""Tests of Python code run with whatever Python CMake found; the packages that `make test` installs are those of Debian's."""
import os
import sys

DEBIAN = "/usr/bin/python3"


def missing(error):
    """Call when an import failed: goes on with Debian's Python, or says so and skips the test (77)."""
    if os.path.realpath(sys.executable) != os.path.realpath(DEBIAN) and os.path.exists(DEBIAN):
        os.execv(DEBIAN, [DEBIAN, "-B"] + sys.argv)
    print("skipped: %s" % error, file=sys.stderr)
    sys.exit(77)
