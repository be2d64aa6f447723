/* POSIX timers: timer_create(2) and its family, setitimer(2). */
#include "abi.h"

#include <sys/time.h>

static timer_t make(int clock, int notify, int signal) {
    struct sigevent event = {.sigev_notify = notify, .sigev_signo = signal};
    event.sigev_value.sival_int = 77;
    timer_t timer;
    MUST(timer_create(clock, &event, &timer));
    return timer;
}

static void block(sigset_t *set, int signal) {
    sigemptyset(set);
    sigaddset(set, signal);
    MUST(sigprocmask(SIG_BLOCK, set, NULL));
}

CASE(timer_signal) {
    sigset_t set;
    block(&set, SIGRTMIN);
    timer_t timer = make(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN);
    struct itimerspec at = {{0, 0}, {0, 20000000}}, now;
    R(timer_settime(timer, 0, &at, NULL));
    siginfo_t info = {0};
    R(sigwaitinfo(&set, &info) == SIGRTMIN);
    say("code %d value %d overrun %d\n", info.si_code, info.si_value.sival_int, info.si_overrun);
    R(timer_gettime(timer, &now));
    say("%ld.%09ld %ld.%09ld\n", now.it_value.tv_sec, now.it_value.tv_nsec, now.it_interval.tv_sec,
        now.it_interval.tv_nsec);
    R(timer_getoverrun(timer));
    R(timer_delete(timer));
    R(timer_delete(timer));
}

CASE(timer_interval_overruns) {
    sigset_t set;
    block(&set, SIGRTMIN + 1);
    timer_t timer = make(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN + 1);
    struct itimerspec at = {{0, 5000000}, {0, 5000000}}, left;
    R(timer_settime(timer, 0, &at, NULL));
    sleep_ms(100);
    siginfo_t info;
    R(sigwaitinfo(&set, &info) == SIGRTMIN + 1);
    say("overruns %d, told %d\n", info.si_overrun >= 10, info.si_overrun == timer_getoverrun(timer));
    R(timer_gettime(timer, &left));
    say("interval %ld, left %d\n", left.it_interval.tv_nsec,
        left.it_value.tv_sec == 0 && left.it_value.tv_nsec > 0 && left.it_value.tv_nsec <= 5000000);
    R(sigwaitinfo(&set, &info) == SIGRTMIN + 1);
    struct itimerspec off = {{0, 0}, {0, 0}}, old;
    R(timer_settime(timer, 0, &off, &old));
    say("was %ld\n", old.it_interval.tv_nsec);
    struct timespec none = {0, 0};
    sigtimedwait(&set, &info, &none);
    struct timespec wait = {0, 50000000};
    R(sigtimedwait(&set, &info, &wait));
}

CASE(timer_absolute) {
    sigset_t set;
    block(&set, SIGALRM);
    timer_t timer;
    R(timer_create(CLOCK_REALTIME, NULL, &timer));
    struct itimerspec at = {{0, 0}, {0, 0}}, left;
    MUST(clock_gettime(CLOCK_REALTIME, &at.it_value));
    at.it_value.tv_sec += 100;
    R(timer_settime(timer, TIMER_ABSTIME, &at, NULL));
    R(timer_gettime(timer, &left));
    say("left %d\n", left.it_value.tv_sec == 99 || left.it_value.tv_sec == 100);
    at.it_value.tv_sec -= 200;
    R(timer_settime(timer, TIMER_ABSTIME, &at, &left));
    say("left %d\n", left.it_value.tv_sec == 99 || left.it_value.tv_sec == 100);
    siginfo_t info;
    R(sigwaitinfo(&set, &info) == SIGALRM);
    /* Without an event, the value is the timer's id. */
    say("code %d\n", info.si_code);
    R(timer_getoverrun(timer));
}

CASE(timer_none) {
    timer_t timer = make(CLOCK_MONOTONIC, SIGEV_NONE, 0);
    struct itimerspec at = {{0, 10000000}, {0, 10000000}}, left;
    R(timer_settime(timer, 0, &at, NULL));
    R(timer_gettime(timer, &left));
    say("left %d\n", left.it_value.tv_nsec > 0 || left.it_value.tv_sec > 0);
    sleep_ms(60);
    R(timer_gettime(timer, &left));
    say("left %d\n", left.it_value.tv_sec == 0 && left.it_value.tv_nsec <= 10000000 && left.it_value.tv_nsec > 0);
    at.it_interval.tv_nsec = 0;
    R(timer_settime(timer, 0, &at, NULL));
    sleep_ms(30);
    R(timer_gettime(timer, &left));
    say("left %ld.%ld\n", left.it_value.tv_sec, left.it_value.tv_nsec);
}

CASE(timer_to_thread) {
    sigset_t set;
    block(&set, SIGUSR2);
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR2};
    event._sigev_un._tid = syscall(SYS_gettid);
    event.sigev_value.sival_ptr = (void *)0x1234567890;
    timer_t timer;
    R(timer_create(CLOCK_MONOTONIC, &event, &timer));
    struct itimerspec at = {{0, 0}, {0, 1000000}};
    R(timer_settime(timer, 0, &at, NULL));
    siginfo_t info;
    R(sigwaitinfo(&set, &info) == SIGUSR2);
    say("%lx\n", (long)info.si_value.sival_ptr);
    event._sigev_un._tid = 1;
    R(timer_create(CLOCK_MONOTONIC, &event, &timer));
}

static volatile int expirations;

static void on_thread(union sigval value) {
    if (value.sival_int == 5)
        __atomic_add_fetch(&expirations, 1, __ATOMIC_SEQ_CST);
}

CASE(timer_new_threads) {
    struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = on_thread};
    event.sigev_value.sival_int = 5;
    timer_t timer;
    R(timer_create(CLOCK_MONOTONIC, &event, &timer));
    struct itimerspec at = {{0, 5000000}, {0, 5000000}};
    R(timer_settime(timer, 0, &at, NULL));
    while (expirations < 3)
        sleep_ms(5);
    R(timer_delete(timer));
    say("came\n");
}

CASE(timer_errors) {
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    R(syscall(SYS_timer_create, 99, &event, &timer));
    R(syscall(SYS_timer_create, CLOCK_MONOTONIC_RAW, &event, &timer));
    R(syscall(SYS_timer_create, CLOCK_REALTIME_COARSE, &event, &timer));
    event.sigev_notify = 77;
    R(syscall(SYS_timer_create, CLOCK_REALTIME, &event, &timer));
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = 65;
    R(syscall(SYS_timer_create, CLOCK_REALTIME, &event, &timer));
    event.sigev_signo = 0;
    R(syscall(SYS_timer_create, CLOCK_REALTIME, &event, &timer));
    event.sigev_signo = SIGALRM;
    R(syscall(SYS_timer_create, CLOCK_REALTIME, (void *)8, &timer));
    R(syscall(SYS_timer_create, CLOCK_REALTIME, &event, (void *)8));
    int id;
    R(syscall(SYS_timer_create, CLOCK_REALTIME, &event, &id));
    struct itimerspec at = {{0, 0}, {0, 1000000000}};
    R(syscall(SYS_timer_settime, id, 0, &at, NULL));
    at.it_value.tv_nsec = -1;
    R(syscall(SYS_timer_settime, id, 0, &at, NULL));
    R(syscall(SYS_timer_settime, id, 0, NULL, NULL));
    R(syscall(SYS_timer_settime, id, 0, (void *)8, NULL));
    at.it_value.tv_nsec = 0;
    R(syscall(SYS_timer_settime, 9999, 0, &at, NULL));
    R(syscall(SYS_timer_gettime, 9999, &at));
    R(syscall(SYS_timer_getoverrun, 9999));
    R(syscall(SYS_timer_delete, 9999));
    R(syscall(SYS_timer_gettime, id, (void *)8));
    R(syscall(SYS_timer_delete, id));
}

CASE(timer_not_inherited) {
    int id;
    struct sigevent event = {.sigev_notify = SIGEV_NONE};
    MUST(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id));
    pid_t child = MUST(fork());
    if (child == 0) {
        R(syscall(SYS_timer_getoverrun, id));
        int own = -1;
        R(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &own));
        say("first id %d\n", own);
        _exit(0);
    }
    reap("child", child);
    R(syscall(SYS_timer_getoverrun, id));
}

CASE(timer_deleted_while_pending) {
    sigset_t set;
    block(&set, SIGRTMIN);
    timer_t timer = make(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN);
    struct itimerspec at = {{0, 0}, {0, 1}};
    R(timer_settime(timer, 0, &at, NULL));
    sleep_ms(20);
    R(timer_delete(timer));
    struct timespec none = {0, 0};
    siginfo_t info;
    R(sigtimedwait(&set, &info, &none));
}

CASE(timer_signal_ignored) {
    signal(SIGUSR1, SIG_IGN);
    timer_t timer = make(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGUSR1);
    struct itimerspec at = {{0, 5000000}, {0, 5000000}}, left;
    R(timer_settime(timer, 0, &at, NULL));
    sleep_ms(50);
    R(timer_gettime(timer, &left));
    say("interval %ld, left %d\n", left.it_interval.tv_nsec, left.it_value.tv_nsec > 0);
}

static volatile int alarms;

static void count_alarm(int signal) {
    (void)signal;
    alarms++;
}

CASE(timer_interval_real) {
    signal(SIGALRM, count_alarm);
    struct itimerval every = {{0, 5000}, {0, 5000}}, old;
    R(setitimer(ITIMER_REAL, &every, NULL));
    while (alarms < 5)
        pause();
    R(getitimer(ITIMER_REAL, &old));
    say("interval %ld\n", (long)old.it_interval.tv_usec);
    struct itimerval off = {{0, 0}, {0, 0}};
    R(setitimer(ITIMER_REAL, &off, &old));
    say("interval %ld\n", (long)old.it_interval.tv_usec);
    R(getitimer(ITIMER_REAL, &old));
    say("%ld %ld\n", (long)old.it_interval.tv_usec, (long)old.it_value.tv_usec);
    every.it_value.tv_usec = 1000000;
    R(setitimer(ITIMER_REAL, &every, NULL));
    R(setitimer(3, &off, NULL));
    R(getitimer(3, &off));
    R(syscall(SYS_getitimer, ITIMER_REAL, 8));
}

CASE(timer_interval_cpu) {
    signal(SIGVTALRM, count_alarm);
    signal(SIGPROF, count_alarm);
    for (int which = ITIMER_VIRTUAL; which <= ITIMER_PROF; which++) {
        struct itimerval every = {{0, 10000}, {0, 10000}}, old;
        alarms = 0;
        R(setitimer(which, &every, NULL));
        while (alarms < 3)
            ;
        R(getitimer(which, &old));
        say("armed %d\n", old.it_value.tv_usec > 0 && old.it_interval.tv_usec > 0);
        struct itimerval off = {{0, 0}, {0, 0}};
        R(setitimer(which, &off, NULL));
        R(getitimer(which, &old));
        say("%ld %ld\n", (long)old.it_value.tv_usec, (long)old.it_interval.tv_usec);
    }
}

static long cpu_ms(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Spins until so many alarms came; says whether that took the CPU time that it should. */
static void spin(const char *what, clockid_t clock, int count, long least, long most) {
    long before = cpu_ms(clock);
    while (alarms < count && cpu_ms(clock) - before < 5000)
        ;
    long took = cpu_ms(clock) - before;
    say("%s: %d, in time %d\n", what, alarms, took >= least - 2 && took < most);
}

CASE(timer_cpu_time) {
    static const clockid_t clocks[] = {CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID};
    signal(SIGALRM, count_alarm);
    for (int i = 0; i < 2; i++) {
        timer_t t;
        struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
        struct itimerspec at = {{0, 0}, {0, 50000000}}, left;
        alarms = 0;
        R(timer_create(clocks[i], &event, &t));
        R(timer_settime(t, 0, &at, NULL));
        sleep_ms(150);
        say("asleep: %d\n", alarms);
        R(timer_gettime(t, &left));
        say("left %d\n", left.it_value.tv_nsec > 20000000 && left.it_value.tv_nsec <= 50000000);
        spin("once", clocks[i], 1, 30, 500);
        R(timer_gettime(t, &left));
        say("left %ld %ld\n", (long)left.it_value.tv_sec, left.it_value.tv_nsec);
        alarms = 0;
        at = (struct itimerspec){{0, 20000000}, {0, 20000000}};
        R(timer_settime(t, 0, &at, NULL));
        spin("again and again", clocks[i], 4, 80, 800);
        R(timer_gettime(t, &left));
        say("armed %d\n", left.it_value.tv_nsec > 0 && left.it_interval.tv_nsec == 20000000);
        at = (struct itimerspec){{0, 0}, {0, 0}};
        R(timer_settime(t, 0, &at, NULL));
        alarms = 0;
        clock_gettime(clocks[i], &at.it_value);
        at.it_value.tv_nsec += 40000000;
        if (at.it_value.tv_nsec >= 1000000000) {
            at.it_value.tv_nsec -= 1000000000;
            at.it_value.tv_sec++;
        }
        R(timer_settime(t, TIMER_ABSTIME, &at, NULL));
        spin("absolute", clocks[i], 1, 38, 500);
        alarms = 0;
        at.it_value = (struct timespec){0, 1};
        R(timer_settime(t, TIMER_ABSTIME, &at, NULL));
        spin("in the past", clocks[i], 1, 0, 400);
        R(timer_delete(t));
    }
}

CASE(timer_cpu_clocks) {
    timer_t t;
    clockid_t clock;
    struct sigevent event = {.sigev_notify = SIGEV_NONE};
    MUST(clock_getcpuclockid(getpid(), &clock));
    R(timer_create(clock, &event, &t));
    MUST(pthread_getcpuclockid(pthread_self(), &clock));
    R(timer_create(clock, &event, &t));
    /* A process that there is not, and a thread of another process. */
    R(syscall(SYS_timer_create, -4000001 * 8 + 2, &event, &clock));
    R(syscall(SYS_timer_create, -2 * 8 + 6, &event, &clock));
    pid_t child = MUST(fork());
    if (child == 0) {
        for (;;)
            ;
    }
    MUST(clock_getcpuclockid(child, &clock));
    event = (struct sigevent){.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
    signal(SIGALRM, count_alarm);
    alarms = 0;
    R(timer_create(clock, &event, &t));
    struct itimerspec at = {{0, 0}, {0, 100000000}};
    R(timer_settime(t, 0, &at, NULL));
    for (int i = 0; i < 500 && !alarms; i++)
        sleep_ms(10);
    say("the child's time: %d, %d\n", alarms, cpu_ms(clock) >= 98);
    MUST(kill(child, SIGKILL));
    reap("child", child);
}
