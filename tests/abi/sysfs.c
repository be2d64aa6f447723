/* What run-time systems and C libraries read of /sys to count processors. */
#include "abi.h"

static char text[4096];

static ssize_t slurp(const char *path) {
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        return -1;
    ssize_t count = read(fd, text, sizeof text - 1);
    text[count > 0 ? count : 0] = 0;
    close(fd);
    return count;
}

/* Counts the processors of a list like "0-3,5\n"; -1 when it is none. */
static int count_list(const char *list) {
    int count = 0;
    while (*list && *list != '\n') {
        char *end;
        long from = strtol(list, &end, 10), to = from;
        if (end == list)
            return -1;
        if (*end == '-')
            to = strtol(end + 1, &end, 10);
        count += to - from + 1;
        list = *end == ',' ? end + 1 : end;
    }
    return *list == '\n' ? count : -1;
}

CASE(sysfs_processors) {
    OK(slurp("/sys/devices/system/cpu/online"));
    int online = count_list(text);
    say("as sysconf has it %d\n", online == sysconf(_SC_NPROCESSORS_ONLN));
    OK(slurp("/sys/devices/system/cpu/possible"));
    int possible = count_list(text);
    OK(slurp("/sys/devices/system/cpu/present"));
    say("in order %d\n", online <= count_list(text) && count_list(text) <= possible);
    say("configured %d\n", sysconf(_SC_NPROCESSORS_CONF) >= online);
    cpu_set_t set;
    MUST(sched_getaffinity(0, sizeof set, &set));
    say("affinity %d\n", CPU_COUNT(&set) <= online);
    R(access("/sys/devices/system/cpu/cpu0", F_OK));
    R(access("/sys/devices/system/cpu/cpu4000", F_OK));
    R(open("/sys/devices/system/cpu/online", O_WRONLY | O_CREAT | O_EXCL, 0600));
}

CASE(sysfs_topology) {
    OK(slurp("/sys/devices/system/cpu/cpu0/topology/physical_package_id"));
    OK(slurp("/sys/devices/system/cpu/cpu0/topology/core_id"));
    OK(slurp("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list"));
    say("siblings %d\n", count_list(text) >= 1);
    OK(slurp("/sys/devices/system/cpu/cpu0/topology/thread_siblings"));
    say("mask %d\n", strspn(text, "0123456789abcdef,") == strlen(text) - 1);
}
