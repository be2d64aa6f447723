#!/bin/sh
# Runs modules of CPython's own test suite; the first process of a guest, and of a chroot on Linux:
#   run.sh SECONDS MODULE...
# Stays as the parent, as an init would, and says how each module ended.
export HOME=/root LOGNAME=root LANG=C.UTF-8 LC_ALL=C.UTF-8 TERM=dumb TMPDIR=/tmp
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# Some cases open as many files as they can.
ulimit -n 1024
seconds=$1
shift
for module; do
    mkdir "/tmp/$module"
    cd "/tmp/$module" || exit 1
    /usr/bin/python3 /python/run.py "$seconds" "$module" </dev/null 2>&1
    echo
    echo "@end $module $?"
    cd /
    rm -rf "/tmp/$module"
done
