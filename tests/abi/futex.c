/* futex(2): errors, order, bitsets, requeueing, operations on two words, robust locks, words shared by processes. */
#include "abi.h"

#include <linux/futex.h>
#include <stdatomic.h>

static int one, two;

static long futex(void *word, int op, unsigned value, const void *timeout, void *word2, unsigned value3) {
    return syscall(SYS_futex, word, op, value, timeout, word2, value3);
}

#define NONE ((void *)0)

CASE(futex_arguments) {
    struct timespec soon = {0, 3000000}, bad = {0, 1000000000}, negative = {-1, 0};
    R(futex(&one, FUTEX_WAIT_PRIVATE, 1, NONE, NONE, 0));
    R(futex(&one, FUTEX_WAIT_PRIVATE, 0, &soon, NONE, 0));
    R(futex(&one, FUTEX_WAIT, 0, &soon, NONE, 0));
    R(futex(&one, FUTEX_WAIT_PRIVATE, 0, &bad, NONE, 0));
    R(futex(&one, FUTEX_WAIT_PRIVATE, 0, &negative, NONE, 0));
    R(futex(&one, FUTEX_WAIT_PRIVATE, 0, (void *)8, NONE, 0));
    R(futex((char *)&one + 1, FUTEX_WAIT_PRIVATE, 0, NONE, NONE, 0));
    R(futex((char *)&one + 2, FUTEX_WAKE_PRIVATE, 1, NONE, NONE, 0));
    R(futex((void *)8, FUTEX_WAIT_PRIVATE, 0, NONE, NONE, 0));
    R(futex((void *)8, FUTEX_WAKE_PRIVATE, 1, NONE, NONE, 0));
    R(futex((void *)8, FUTEX_WAKE, 1, NONE, NONE, 0));
    R(futex((void *)0xffff800000000000, FUTEX_WAKE_PRIVATE, 1, NONE, NONE, 0));
    R(futex(&one, FUTEX_WAKE_PRIVATE, 1, NONE, NONE, 0));
    R(futex(&one, FUTEX_WAKE_BITSET_PRIVATE, 1, NONE, NONE, 0));
    R(futex(&one, FUTEX_WAIT_BITSET_PRIVATE, 0, NONE, NONE, 0));
    R(futex(&one, 77, 0, NONE, NONE, 0));
    R(futex(&one, FUTEX_WAIT | FUTEX_CLOCK_REALTIME, 0, &bad, NONE, 0));
    R(futex(&one, FUTEX_WAIT | FUTEX_CLOCK_REALTIME, 0, &soon, NONE, 0));
    R(futex(&one, FUTEX_REQUEUE_PRIVATE, -1, NONE, &two, 0));
    R(futex(&one, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)1, &two, 5));
    R(futex(&one, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &two, 0xf0000000u));
}

CASE(futex_absolute_time) {
    static const struct {
        int clock, op;
    } kinds[] = {{CLOCK_MONOTONIC, FUTEX_WAIT_BITSET_PRIVATE},
                 {CLOCK_REALTIME, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME}};
    for (int i = 0; i < 2; i++) {
        struct timespec t;
        long before = now_ms();
        MUST(clock_gettime(kinds[i].clock, &t));
        t.tv_nsec += 30000000;
        if (t.tv_nsec >= 1000000000) {
            t.tv_nsec -= 1000000000;
            t.tv_sec++;
        }
        R(futex(&one, kinds[i].op, 0, &t, NONE, FUTEX_BITSET_MATCH_ANY));
        say("waited long enough: %d\n", now_ms() - before >= 29);
        struct timespec past = {1, 0};
        R(futex(&one, kinds[i].op, 0, &past, NONE, FUTEX_BITSET_MATCH_ANY));
    }
}

static atomic_int ended, order[8];

static void *waiter(void *arg) {
    long i = (long)arg;
    long result = futex(&one, FUTEX_WAIT_BITSET_PRIVATE, 0, NONE, NONE, 1u << i);
    order[atomic_fetch_add(&ended, 1)] = i * 10 + (result == 0);
    return 0;
}

static void wait_for_ended(int n) {
    while (ended < n)
        sleep_ms(1);
}

CASE(futex_order_and_requeue) {
    pthread_t threads[6];
    for (long i = 0; i < 6; i++) {
        pthread_create(&threads[i], 0, waiter, (void *)i);
        sleep_ms(20);
    }
    R(futex(&one, FUTEX_WAKE_BITSET_PRIVATE, 9, NONE, NONE, 1 << 2));
    wait_for_ended(1);
    R(futex(&one, FUTEX_WAKE_PRIVATE, 1, NONE, NONE, 0));
    wait_for_ended(2);
    /* A count of zero wakes one, too. */
    R(futex(&one, FUTEX_WAKE_PRIVATE, 0, NONE, NONE, 0));
    wait_for_ended(3);
    R(futex(&one, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)1, &two, 7));
    R(futex(&one, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)1, &two, 0));
    wait_for_ended(4);
    R(futex(&two, FUTEX_WAKE_PRIVATE, 9, NONE, NONE, 0));
    wait_for_ended(5);
    R(futex(&one, FUTEX_REQUEUE_PRIVATE, 0, (void *)9, &two, 0));
    R(futex(&one, FUTEX_WAKE_PRIVATE, 9, NONE, NONE, 0));
    R(futex(&two, FUTEX_WAKE_PRIVATE, 9, NONE, NONE, 0));
    for (int i = 0; i < 6; i++)
        pthread_join(threads[i], 0);
    for (int i = 0; i < 6; i++)
        say("ended: waiter %d woken %d\n", order[i] / 10, order[i] % 10);
}

CASE(futex_operations) {
    static const struct {
        unsigned op, arg, cmp, cmp_arg;
    } ops[] = {{FUTEX_OP_SET, 7, FUTEX_OP_CMP_EQ, 5},   {FUTEX_OP_ADD, 3, FUTEX_OP_CMP_NE, 5},
               {FUTEX_OP_OR, 8, FUTEX_OP_CMP_LT, 6},    {FUTEX_OP_ANDN, 1, FUTEX_OP_CMP_LE, 5},
               {FUTEX_OP_XOR, 0xfff, FUTEX_OP_CMP_GT, 0xfff}, {8 | FUTEX_OP_SET, 4, FUTEX_OP_CMP_GE, 6}};
    for (int i = 0; i < 6; i++) {
        two = 5;
        R(futex(&one, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &two,
                FUTEX_OP(ops[i].op, ops[i].arg, ops[i].cmp, ops[i].cmp_arg)));
        say("word: %d\n", two);
    }
    R(futex(&one, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, (void *)8, FUTEX_OP(FUTEX_OP_SET, 1, 0, 0)));
}

static pthread_mutex_t robust;

static void *lock_and_leave(void *arg) {
    (void)arg;
    pthread_mutex_lock(&robust);
    return 0;
}

static void *wait_for_robust(void *arg) {
    (void)arg;
    return (void *)(long)pthread_mutex_lock(&robust);
}

static void *lock_and_die_later(void *arg) {
    (void)arg;
    pthread_mutex_lock(&robust);
    sleep_ms(40);
    return 0;
}

CASE(futex_owner_ends) {
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&robust, &attr);
    pthread_t a, b;
    void *result;
    pthread_create(&a, 0, lock_and_leave, 0);
    pthread_join(a, 0);
    say("after the owner's end: %s\n", strerrorname_np(pthread_mutex_lock(&robust)));
    pthread_mutex_consistent(&robust);
    pthread_mutex_unlock(&robust);
    pthread_create(&a, 0, lock_and_die_later, 0);
    sleep_ms(15);
    pthread_create(&b, 0, wait_for_robust, 0);
    pthread_join(a, 0);
    pthread_join(b, &result);
    say("a waiter when the owner ends: %s\n", strerrorname_np((int)(long)result));

    void *head;
    size_t len;
    R(syscall(SYS_get_robust_list, 0, &head, &len));
    say("length %zu\n", len);
    R(syscall(SYS_set_robust_list, head, len + 1));
    R(syscall(SYS_get_robust_list, 0x3fffffff, &head, &len));
}

CASE(futex_between_processes) {
    int *word = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t child = MUST(fork());
    if (child == 0) {
        while (*(volatile int *)word == 0)
            futex(word, FUTEX_WAIT, 0, NONE, NONE, 0);
        _exit(*word);
    }
    sleep_ms(20);
    *word = 9;
    R(futex(word, FUTEX_WAKE, 1, NONE, NONE, 0));
    reap("waiter", child);

    /* Private words at the same address are different ones. */
    child = MUST(fork());
    if (child == 0) {
        struct timespec t = {0, 60000000};
        long r = futex(&one, FUTEX_WAIT, 0, &t, NONE, 0);
        _exit(r == 0 ? 1 : errno == ETIMEDOUT ? 2 : 3);
    }
    sleep_ms(20);
    R(futex(&one, FUTEX_WAKE, 9, NONE, NONE, 0));
    reap("private waiter", child);
}

static void nothing(int signal) {
    (void)signal;
}

static void *signal_later(void *arg) {
    sleep_ms(20);
    pthread_kill(*(pthread_t *)arg, SIGUSR1);
    return 0;
}

CASE(futex_interrupted) {
    pthread_t self = pthread_self(), other;
    struct timespec t = {0, 400000000};
    for (int flags = 0; flags <= SA_RESTART; flags += SA_RESTART) {
        struct sigaction act = {.sa_handler = nothing, .sa_flags = flags};
        MUST(sigaction(SIGUSR1, &act, 0));
        pthread_create(&other, 0, signal_later, &self);
        R(futex(&one, FUTEX_WAIT_PRIVATE, 0, &t, NONE, 0));
        pthread_join(other, 0);
    }
    struct sigaction act = {.sa_handler = SIG_IGN};
    MUST(sigaction(SIGUSR1, &act, 0));
    pthread_create(&other, 0, signal_later, &self);
    long before = now_ms();
    R(futex(&one, FUTEX_WAIT_PRIVATE, 0, &t, NONE, 0));
    say("waited to the end: %d\n", now_ms() - before >= 399);
    pthread_join(other, 0);
}
