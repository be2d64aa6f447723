/* vdso(7): what user code reads without entering the kernel agrees with the kernel. */
#include "abi.h"

#include <elf.h>
#include <sys/auxv.h>
#include <sys/time.h>

static long ns(const struct timespec *t) {
    return t->tv_sec * 1000000000L + t->tv_nsec;
}

CASE(vdso_image) {
    const unsigned char *image = (void *)getauxval(AT_SYSINFO_EHDR);
    say("there: %d\n", image != 0);
    const Elf64_Ehdr *header = (void *)image;
    say("ELF: %d, shared object: %d\n", memcmp(image, ELFMAG, SELFMAG) == 0, header->e_type == ET_DYN);
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps))
        if (strstr(line, "[vdso]"))
            say("%s", strchr(line, ' '));
}

CASE(vdso_clocks_agree) {
    static const clockid_t clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_MONOTONIC_RAW,
                                       CLOCK_BOOTTIME, CLOCK_TAI};
    for (int i = 0; i < 5; i++) {
        struct timespec before, between, after;
        syscall(SYS_clock_gettime, clocks[i], &before);
        R(clock_gettime(clocks[i], &between));
        syscall(SYS_clock_gettime, clocks[i], &after);
        say("clock %d in order: %d\n", clocks[i], ns(&before) <= ns(&between) && ns(&between) <= ns(&after));
        say("valid: %d\n", between.tv_nsec >= 0 && between.tv_nsec < 1000000000);
    }
    R(clock_gettime(10, &(struct timespec){0}));
    R(clock_gettime(77, &(struct timespec){0}));
    struct timeval day;
    struct timespec now;
    struct timezone zone = {7, 7};
    R(gettimeofday(&day, &zone));
    clock_gettime(CLOCK_REALTIME, &now);
    say("day: %d, zone %d %d\n", ns(&now) - (day.tv_sec * 1000000000L + day.tv_usec * 1000) < 1000000000L,
        zone.tz_minuteswest, zone.tz_dsttime);
    time_t seconds;
    say("time: %d\n", time(&seconds) - now.tv_sec <= 1 && seconds - now.tv_sec <= 1);
}

static void *watch(void *arg) {
    long *backwards = arg;
    static volatile long last;
    for (int i = 0; i < 20000; i++) {
        long seen = last;
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        if (ns(&t) < seen)
            ++*backwards;
        last = ns(&t) > last ? ns(&t) : last;
    }
    return 0;
}

CASE(vdso_clock_never_goes_back) {
    pthread_t threads[3];
    long backwards[3] = {0};
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], 0, watch, &backwards[i]);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], 0);
    say("backwards: %ld\n", backwards[0] + backwards[1] + backwards[2]);
}

CASE(vdso_cpu) {
    cpu_set_t set;
    MUST(sched_getaffinity(0, sizeof set, &set));
    for (int i = 0, done = 0; i < CPU_SETSIZE && done < 2; i++) {
        if (!CPU_ISSET(i, &set))
            continue;
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(i, &one);
        MUST(sched_setaffinity(0, sizeof one, &one));
        unsigned cpu = -1, node = -1;
        R(getcpu(&cpu, &node));
        say("right CPU: %d, node %u, same as sched_getcpu: %d\n", cpu == (unsigned)i, node, sched_getcpu() == i);
        done++;
    }
}

static void write_through_bad_pointer(void) {
    clock_gettime(CLOCK_MONOTONIC, (void *)8);
}

CASE(vdso_bad_pointer) {
    in_child("bad pointer", write_through_bad_pointer);
}
