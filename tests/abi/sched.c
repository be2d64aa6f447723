/* sched(7): yielding, affinity, policies, priorities, fairness, what a thread keeps while others run. */
#include "abi.h"

#include <immintrin.h>
#include <stdatomic.h>
#include <sys/resource.h>

CASE(sched_affinity) {
    cpu_set_t set;
    unsigned long small = 0;
    OK(sched_getaffinity(0, sizeof set, &set));
    say("CPU 0: %d\n", CPU_ISSET(0, &set));
    R(syscall(SYS_sched_getaffinity, 0, 7, &small));
    R(syscall(SYS_sched_getaffinity, -1, 8, &small));
    R(syscall(SYS_sched_getaffinity, 0x3fffffff, 8, &small));
    R(syscall(SYS_sched_getaffinity, 0, 8, (void *)8));
    CPU_ZERO(&set);
    R(sched_setaffinity(0, sizeof set, &set));
    CPU_SET(1000, &set);
    R(sched_setaffinity(0, sizeof set, &set));
    CPU_SET(0, &set);
    R(sched_setaffinity(0, sizeof set, &set));
    R(sched_getcpu());
    MUST(sched_getaffinity(0, sizeof set, &set));
    say("CPUs: %d\n", CPU_COUNT(&set));
    R(sched_setaffinity(0, sizeof set, (void *)8));
}

static atomic_int moved;

static void *spin_on_cpu(void *arg) {
    int wanted = *(int *)arg;
    while (sched_getcpu() != wanted)
        ;
    moved = 1;
    return 0;
}

CASE(sched_running_thread_moves) {
    cpu_set_t all;
    MUST(sched_getaffinity(0, sizeof all, &all));
    int last = 0;
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (CPU_ISSET(i, &all))
            last = i;
    int targets[2] = {0, last};
    for (int i = 0; i < 2; i++) {
        pthread_t t;
        moved = 0;
        pthread_create(&t, 0, spin_on_cpu, &targets[i]);
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(targets[i], &one);
        /* It may be there and gone already. */
        int r = pthread_setaffinity_np(t, sizeof one, &one);
        say("set: %s\n", r == 0 || r == ESRCH ? "ok" : strerrorname_np(r));
        pthread_join(t, 0);
        say("moved: %d\n", moved);
    }
}

static atomic_int step;

static void *answer(void *arg) {
    (void)arg;
    for (int i = 0; i < 1000; i++) {
        while (step != 2 * i + 1)
            sched_yield();
        step = 2 * i + 2;
    }
    return 0;
}

CASE(sched_yield_ping_pong) {
    pthread_t t;
    pthread_create(&t, 0, answer, 0);
    for (int i = 0; i < 1000; i++) {
        step = 2 * i + 1;
        while (step != 2 * i + 2)
            sched_yield();
    }
    pthread_join(t, 0);
    say("steps: %d\n", step);
}

static atomic_int stop;
static long counts[3];

static void *burn(void *arg) {
    volatile long *count = arg;
    while (!stop)
        ++*count;
    return 0;
}

CASE(sched_fair_on_one_cpu) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    MUST(sched_setaffinity(0, sizeof one, &one));
    pthread_t t[3];
    for (int i = 0; i < 3; i++)
        pthread_create(&t[i], 0, burn, &counts[i]);
    sleep_ms(400);
    stop = 1;
    long least = counts[0], most = counts[0];
    for (int i = 0; i < 3; i++) {
        pthread_join(t[i], 0);
        least = counts[i] < least ? counts[i] : least;
        most = counts[i] > most ? counts[i] : most;
    }
    say("all ran: %d, none three times as much: %d\n", least > 0, most < 3 * least);
}

CASE(sched_policies) {
    static const int policies[] = {SCHED_OTHER, SCHED_FIFO, SCHED_RR, SCHED_BATCH, SCHED_IDLE, 4, 99};
    for (int i = 0; i < 7; i++) {
        say("policy %d\n", policies[i]);
        R(sched_get_priority_max(policies[i]));
        R(sched_get_priority_min(policies[i]));
    }
    struct sched_param param = {0};
    R(sched_getscheduler(0));
    R(sched_getparam(0, &param));
    say("priority %d\n", param.sched_priority);
    R(sched_setscheduler(0, SCHED_OTHER, &param));
    param.sched_priority = 1;
    R(sched_setscheduler(0, SCHED_OTHER, &param));
    R(sched_setscheduler(0, 99, &param));
    R(sched_getscheduler(-1));
    R(sched_getscheduler(0x3fffffff));
    R(getpriority(PRIO_PROCESS, 0));
    R(setpriority(PRIO_PROCESS, 0, 0));
    R(getpriority(PRIO_PROCESS, 0x3fffffff));
    R(getpriority(3, 0));
}

/* MXCSR's flags stay set until the program clears them, whoever else runs on the CPU meanwhile and has them set, too. */
CASE(sched_keeps_exception_flags) {
    enum { INEXACT = 0x1fa0 };
    cpu_set_t first;
    CPU_ZERO(&first);
    CPU_SET(0, &first);
    R(sched_setaffinity(0, sizeof first, &first));
    int kept = 0, status = 0;
    pid_t child = fork();
    _mm_setcsr(INEXACT);
    for (int i = 0; i < 1000; i++) {
        sched_yield();
        kept += _mm_getcsr() == INEXACT;
    }
    if (!child) _exit(kept != 1000);
    waitpid(child, &status, 0);
    say("kept: here %d of 1000, there %d\n", kept, status == 0);
}
