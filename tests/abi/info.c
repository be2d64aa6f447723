/* What the system and a process say of themselves: prctl(2), uname(2), sysinfo(2), times(2), getrusage(2), sched(7). */
#include "abi.h"

#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/times.h>
#include <sys/utsname.h>

CASE(info_names) {
    char name[17] = {0};
    R(prctl(PR_SET_NAME, "a rather long name of a thread"));
    R(prctl(PR_GET_NAME, name));
    say("'%s'\n", name);
    R(prctl(PR_SET_NAME, 8));
    R(prctl(PR_GET_NAME, 8));
    char text[64] = {0};
    int fd = MUST(open("/proc/self/comm", O_RDONLY));
    R(read(fd, text, sizeof text));
    say("%s", text);
    R(prctl(PR_SET_NAME, ""));
    R(prctl(PR_GET_NAME, name));
    say("'%s'\n", name);
}

CASE(info_attributes) {
    R(prctl(PR_GET_DUMPABLE));
    R(prctl(PR_SET_DUMPABLE, 0));
    R(prctl(PR_GET_DUMPABLE));
    R(prctl(PR_SET_DUMPABLE, 2));
    R(prctl(PR_SET_DUMPABLE, 1));
    R(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    R(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    R(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    R(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
    R(prctl(PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0));
    R(prctl(PR_GET_KEEPCAPS));
    R(prctl(PR_SET_KEEPCAPS, 1));
    R(prctl(PR_GET_KEEPCAPS));
    R(prctl(PR_SET_KEEPCAPS, 2));
    R(prctl(PR_SET_TIMERSLACK, 1000));
    R(prctl(PR_GET_TIMERSLACK));
    R(prctl(PR_SET_TIMERSLACK, 0));
    R(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
    R(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
    R(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
    R(prctl(PR_GET_SECCOMP));
    R(prctl(PR_CAPBSET_READ, 0));
    R(prctl(PR_CAPBSET_READ, 100));
    R(prctl(PR_SET_PDEATHSIG, 0));
    R(prctl(9999));
    R(prctl(PR_SET_CHILD_SUBREAPER, 0));
}

CASE(info_uname) {
    struct utsname name;
    R(uname(&name));
    int major = 0, minor = 0;
    int fields = sscanf(name.release, "%d.%d", &major, &minor);
    say("%s %s, release of %d numbers, major %d\n", name.sysname, name.machine, fields, major >= 5);
    R(syscall(SYS_uname, 8));
    char host[65];
    R(gethostname(host, sizeof host));
    say("%d\n", strcmp(host, name.nodename));
}

CASE(info_sysinfo) {
    struct sysinfo info;
    memset(&info, 0xff, sizeof info);
    R(sysinfo(&info));
    say("%d %d %d %d unit %u\n", info.uptime > 0, info.totalram > 0, info.freeram <= info.totalram, info.procs > 0,
        info.mem_unit);
    struct timespec up;
    MUST(clock_gettime(CLOCK_BOOTTIME, &up));
    say("uptime %d\n", info.uptime >= up.tv_sec - 1 && info.uptime <= up.tv_sec + 2);
    R(sysinfo((void *)8));
}

/* Averages are sampled every five seconds: two threads that run for six leave something in the first. */
CASE(info_load_averages) {
    pid_t children[2];
    for (int i = 0; i < 2; i++)
        if ((children[i] = MUST(fork())) == 0)
            for (;;)
                ;
    sleep(6);
    double loads[3] = {0}, shown[3] = {0};
    R(getloadavg(loads, 3));
    struct sysinfo info;
    R(sysinfo(&info));
    FILE *file = fopen("/proc/loadavg", "r");
    int running = 0, all = 0, last = 0;
    say("%d fields\n", fscanf(file, "%lf %lf %lf %d/%d %d", &shown[0], &shown[1], &shown[2], &running, &all, &last));
    fclose(file);
    say("some load %d, running %d\n", shown[0] >= 0.08, running >= 2);
    for (int i = 0; i < 3; i++) {
        double difference = shown[i] - info.loads[i] / 65536.0;
        say("alike %d\n", difference > -0.5 && difference < 0.5);
    }
    for (int i = 0; i < 2; i++) {
        kill(children[i], SIGKILL);
        reap("child", children[i]);
    }
}

CASE(info_times) {
    struct tms a, b;
    clock_t begin = times(&a);
    for (volatile long i = 0; i < 50000000; i++)
        ;
    clock_t end = times(&b);
    say("later %d, used %d, not more than passed %d\n", end >= begin, b.tms_utime > a.tms_utime,
        b.tms_utime - a.tms_utime <= end - begin + 2);
    say("children %ld %ld\n", (long)b.tms_cutime, (long)b.tms_cstime);
    pid_t child = MUST(fork());
    if (child == 0) {
        struct tms own;
        times(&own);
        say("fresh %d\n", own.tms_utime <= 2);
        for (volatile long i = 0; i < 80000000; i++)
            ;
        _exit(0);
    }
    reap("child", child);
    times(&b);
    say("children %d\n", b.tms_cutime > 0);
    OK(times(NULL));
    R(syscall(SYS_times, 8));
}

CASE(info_usage) {
    struct rusage usage, thread;
    for (volatile long i = 0; i < 30000000; i++)
        ;
    char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(p, 1, 1 << 20);
    for (int i = 0; i < 5; i++)
        sleep_ms(2);
    R(getrusage(RUSAGE_SELF, &usage));
    R(getrusage(RUSAGE_THREAD, &thread));
    say("user %d, resident %d, faults %d, switches %d\n", usage.ru_utime.tv_sec + usage.ru_utime.tv_usec > 0,
        usage.ru_maxrss >= 1024, usage.ru_minflt >= 10, usage.ru_nvcsw >= 5);
    say("thread: user %d, faults %d, switches %d\n", thread.ru_utime.tv_sec + thread.ru_utime.tv_usec > 0,
        thread.ru_minflt >= 10, thread.ru_nvcsw >= 5);
    long before = usage.ru_maxrss;
    munmap(p, 1 << 20);
    R(getrusage(RUSAGE_SELF, &usage));
    say("peak stays %d\n", usage.ru_maxrss >= before);
}

CASE(info_priorities) {
    R(getpriority(PRIO_PROCESS, 0));
    R(getpriority(PRIO_PROCESS, getpid()));
    R(setpriority(PRIO_PROCESS, 0, 0));
    R(setpriority(PRIO_PROCESS, 4000000, 0));
    R(getpriority(9, 0));
    R(setpriority(9, 0, 0));
    R(getpriority(PRIO_PGRP, 0));
    R(getpriority(PRIO_USER, 0) <= 0);
    pid_t child = MUST(fork());
    if (child == 0) {
        pid_t grandchild = MUST(fork());
        if (grandchild == 0) {
            R(getpriority(PRIO_PROCESS, 0));
            _exit(0);
        }
        reap("grandchild", grandchild);
        _exit(0);
    }
    reap("child", child);
}

CASE(info_umask_and_ids) {
    R(umask(0));
    R(umask(01777));
    R(umask(022));
    R(getuid() | geteuid() | getgid() | getegid());
    uid_t r, e, s;
    R(getresuid(&r, &e, &s));
    say("%d %d %d\n", r, e, s);
    R(setuid(0));
    R(setresuid(0, 0, 0));
    R(setresuid(-1, -1, -1));
    R(setreuid(-1, 0));
    R(setgid(0));
    R(syscall(SYS_setfsuid, 0));
    R(syscall(SYS_getresuid, 8, 8, 8));
}

static void say_groups(void) {
    gid_t groups[8] = {0};
    int n = getgroups(8, groups);
    say("%d groups:", n);
    for (int i = 0; i < n; i++)
        say(" %u", groups[i]);
    say("\n");
    char line[200];
    FILE *status = fopen("/proc/self/status", "r");
    while (status && fgets(line, sizeof line, status))
        if (!strncmp(line, "Groups:", 7))
            say("%s", line);
    if (status)
        fclose(status);
}

CASE(info_groups) {
    gid_t groups[8] = {100, 4, 4000000000u, 0, 4};
    R(syscall(SYS_setgroups, 0, NULL));
    say_groups();
    R(syscall(SYS_setgroups, 5, groups));
    say_groups();
    R(getgroups(0, NULL));
    R(getgroups(4, groups));
    R(getgroups(-1, groups));
    R(syscall(SYS_getgroups, 8, 8));
    pid_t child = MUST(fork());
    if (child == 0) {
        gid_t one = 7;
        say_groups();
        R(syscall(SYS_setgroups, 1, &one));
        say_groups();
        _exit(0);
    }
    reap("child", child);
    say_groups();
    R(syscall(SYS_setgroups, 1, 8));
    R(syscall(SYS_setgroups, -1, groups));
    R(syscall(SYS_setgroups, 65537, groups));
    static gid_t many[65536];
    for (int i = 0; i < 65536; i++)
        many[i] = 4000000000u - i;
    R(syscall(SYS_setgroups, 65536, many));
    R(getgroups(0, NULL));
    FILE *status = fopen("/proc/self/status", "r");
    int bytes = 0;
    while (fgetc(status) != EOF)
        bytes++;
    fclose(status);
    say("a long status: %d\n", bytes > 65536 * 11);
    R(syscall(SYS_setgroups, 5, groups));
    gid_t none = -1;
    R(syscall(SYS_setgroups, 1, &none));
    say_groups();
    R(syscall(SYS_setgroups, 0, groups));
    say_groups();
}

CASE(info_random) {
    unsigned char a[32] = {0}, b[32] = {0};
    R(syscall(SYS_getrandom, a, sizeof a, 0));
    R(syscall(SYS_getrandom, b, sizeof b, 1));
    say("differ %d\n", memcmp(a, b, sizeof a) != 0);
    R(syscall(SYS_getrandom, a, sizeof a, 2));
    R(syscall(SYS_getrandom, a, sizeof a, 6));
    R(syscall(SYS_getrandom, a, sizeof a, 8));
    R(syscall(SYS_getrandom, 8, 4, 0));
    R(syscall(SYS_getrandom, a, 0, 0));
    char *big = malloc(1 << 20);
    R(syscall(SYS_getrandom, big, 1 << 20, 0));
    int fd = MUST(open("/dev/urandom", O_RDONLY));
    R(read(fd, a, sizeof a));
}

CASE(info_sched_calls) {
    struct sched_param param = {0};
    R(sched_getscheduler(0));
    R(sched_getparam(0, &param));
    say("%d\n", param.sched_priority);
    R(sched_get_priority_max(SCHED_FIFO));
    R(sched_get_priority_min(SCHED_FIFO));
    R(sched_get_priority_max(SCHED_OTHER));
    R(sched_get_priority_max(77));
    R(sched_setscheduler(0, SCHED_OTHER, &param));
    R(sched_setscheduler(0, SCHED_OTHER, &param));
    param.sched_priority = 5;
    R(sched_setscheduler(0, SCHED_OTHER, &param));
    R(sched_setparam(0, &param));
    R(sched_setscheduler(0, 77, &param));
    R(sched_getscheduler(-1));
    R(sched_getscheduler(4000000));
    R(sched_getparam(0, NULL));
    R(sched_yield());
    unsigned cpu = 99, node = 99;
    R(syscall(SYS_getcpu, &cpu, &node, NULL));
    say("%d %u\n", cpu < 64, node);
    R(syscall(SYS_getcpu, NULL, NULL, NULL));
    R(syscall(SYS_getcpu, 8, NULL, NULL));
}
