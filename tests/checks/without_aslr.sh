#!/bin/sh
# Runs a command without address randomisation where that is allowed: GCC 12's thread sanitizer stops on
# kernels that randomise more bits of addresses than it knows of.
if setarch -R true 2>/dev/null; then
    exec setarch -R "$@"
fi
exec "$@"
