#!/bin/sh
# Runs one of OTP's test suites; the first process of a guest, and of a chroot on Linux:
#   run.sh AREA SUITE SCALE [CASE | @GROUP]...
# Stays as the parent, as an init would, and says how the run ended.
export HOME=/root LOGNAME=root LANG=C.UTF-8 LC_ALL=C.UTF-8 TERM=dumb
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export ERL_CRASH_DUMP=/tmp/erl_crash.dump
# Waiting for work in a loop would take the processors from whoever has work: there are fewer of them than schedulers.
export ERL_AFLAGS="+sbwt none +sbwtdcpu none +sbwtdio none"
# Some cases open as many files, or start as many programs, as they can, several times.
ulimit -n 1024
mkdir -p /tmp/ct
cd "/otp/$1_test" || exit 1
erl -noinput -sname test_server -boot start_sasl -sasl errlog_type error \
    -enable-feature maybe_expr -pa /otp/runner -pz . \
    -s otp_suite main -extra "$@"
status=$?
echo
echo "@end $status"
