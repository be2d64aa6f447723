/* clock_gettime(2), nanosleep(2) and relatives. */
#include "abi.h"

#include <sys/resource.h>
#include <sys/time.h>
#include <sys/times.h>

static int later(struct timespec a, struct timespec b) {
    return a.tv_sec < b.tv_sec || (a.tv_sec == b.tv_sec && a.tv_nsec <= b.tv_nsec);
}

CASE(clock_reading) {
    static const int clocks[] = {CLOCK_REALTIME,           CLOCK_MONOTONIC,
                                 CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID,
                                 CLOCK_MONOTONIC_RAW,      CLOCK_REALTIME_COARSE,
                                 CLOCK_MONOTONIC_COARSE,   CLOCK_BOOTTIME};
    for (int i = 0; i < 8; i++) {
        struct timespec a, b;
        int r = clock_gettime(clocks[i], &a);
        int backwards = 0;
        for (int j = 0; j < 2000; j++) {
            clock_gettime(clocks[i], &b);
            backwards += !later(a, b);
            a = b;
        }
        say("clock %d: %d, backwards %d\n", clocks[i], r, backwards);
    }
    struct timespec t;
    R(clock_gettime(99, &t));
    R(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, (void *)8));
    R(clock_getres(CLOCK_MONOTONIC, &t));
    say("resolution %ld %ld\n", (long)t.tv_sec, t.tv_nsec);
    R(clock_getres(99, &t));
    struct timeval v;
    R(gettimeofday(&v, 0));
    clock_gettime(CLOCK_REALTIME, &t);
    say("same wall clock: %d, after 2024: %d\n", t.tv_sec - v.tv_sec <= 1, v.tv_sec > 1704067200);
    say("time(): %d\n", labs(time(0) - t.tv_sec) <= 1);
    /* The call and the vDSO agree. */
    struct timespec c, d;
    clock_gettime(CLOCK_MONOTONIC, &t);
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &c);
    clock_gettime(CLOCK_MONOTONIC, &d);
    say("ordered: %d\n", later(t, c) && later(c, d));
}

CASE(clock_sleeping) {
    struct timespec t = {0, 30000000}, bad = {0, 1000000000}, negative = {-1, 0};
    long from = now_ms();
    R(nanosleep(&t, 0));
    say("not early: %d\n", now_ms() - from >= 29);
    R(nanosleep(&bad, 0));
    R(nanosleep(&negative, 0));
    R(syscall(SYS_nanosleep, (void *)8, 0));
    clock_gettime(CLOCK_MONOTONIC, &t);
    from = now_ms();
    t.tv_nsec += 30000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    R(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, 0));
    say("not early: %d\n", now_ms() - from >= 28);
    R(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &(struct timespec){1, 0}, 0));
    R(clock_nanosleep(CLOCK_MONOTONIC, 0, &bad, 0));
    R(clock_nanosleep(99, 0, &t, 0));
    R(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &t, 0));
}

CASE(clock_cpu_time) {
    struct timespec before, after;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    long from = now_ms();
    volatile unsigned long sum = 0;
    while (now_ms() - from < 60)
        for (int i = 0; i < 10000; i++)
            sum += i;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    long used = (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000;
    say("used some: %d\n", used >= 1);
    struct rusage u;
    R(getrusage(RUSAGE_SELF, &u));
    say("user or system time: %d\n", u.ru_utime.tv_usec + u.ru_utime.tv_sec * 1000000 +
                                             u.ru_stime.tv_usec + u.ru_stime.tv_sec * 1000000 >
                                         0);
    R(getrusage(RUSAGE_THREAD, &u));
    R(getrusage(RUSAGE_CHILDREN, &u));
    R(getrusage(99, &u));
    struct tms t;
    OK(times(&t));
}
