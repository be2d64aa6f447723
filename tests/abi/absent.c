/* Calls at the rim: capabilities, names of the machine, setting clocks, numbers that no call has. */
#include "abi.h"

#include <sys/time.h>

CASE(absent_numbers) {
    R(syscall(1000));
    R(syscall(-1));
    R(syscall(500));
}

CASE(absent_capabilities) {
    struct {
        unsigned version;
        int pid;
    } header = {0x20080522, 0};
    struct {
        unsigned effective, permitted, inheritable;
    } sets[2] = {{0, 0, 0}, {0, 0, 0}};
    R(syscall(SYS_capget, &header, sets));
    say("effective %d\n", (sets[0].effective & 1) == 1);
    header.version = 0;
    R(syscall(SYS_capget, &header, NULL));
    say("%x\n", header.version);
    R(syscall(SYS_capget, &header, sets));
    R(syscall(SYS_capget, NULL, NULL));
    header.pid = 4000000;
    R(syscall(SYS_capget, &header, sets));
}

CASE(absent_host_names) {
    char name[65];
    R(syscall(SYS_sethostname, name, -1));
    R(syscall(SYS_sethostname, name, 65));
    R(syscall(SYS_sethostname, 8, 4));
}

CASE(absent_clock_setting) {
    struct timespec bad = {0, 1000000000};
    R(clock_settime(CLOCK_REALTIME, &bad));
    R(clock_settime(CLOCK_MONOTONIC, &bad));
    R(clock_settime(99, &bad));
    R(syscall(SYS_clock_settime, CLOCK_REALTIME, 8));
    struct timeval wrong = {0, 1000000};
    R(syscall(SYS_settimeofday, &wrong, NULL));
    R(syscall(SYS_settimeofday, 8, NULL));
    R(syscall(SYS_settimeofday, NULL, NULL));
}
