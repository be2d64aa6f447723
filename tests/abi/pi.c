/* Mutexes that inherit priority, and what else glibc builds of futexes. */
#include "abi.h"

#include <linux/futex.h>

static long futex(unsigned *word, int op, unsigned value, const struct timespec *time, unsigned *second, unsigned third) {
    return syscall(SYS_futex, word, op, value, time, second, third);
}

static unsigned lock_word;
static int shared_count;

static void *lock_by_kernel(void *arg) {
    (void)arg;
    for (int i = 0; i < 200; i++) {
        unsigned own = syscall(SYS_gettid), free = 0;
        if (!__atomic_compare_exchange_n(&lock_word, &free, own, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            if (futex(&lock_word, FUTEX_LOCK_PI | FUTEX_PRIVATE_FLAG, 0, NULL, NULL, 0) != 0)
                say("lock: %s\n", strerrorname_np(errno));
        int before = shared_count;
        if (i % 50 == 0)
            sched_yield();
        shared_count = before + 1;
        if (!__atomic_compare_exchange_n(&lock_word, &own, 0, 0, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
            if (futex(&lock_word, FUTEX_UNLOCK_PI | FUTEX_PRIVATE_FLAG, 0, NULL, NULL, 0) != 0)
                say("unlock: %s\n", strerrorname_np(errno));
    }
    return NULL;
}

CASE(pi_excludes) {
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, lock_by_kernel, NULL);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    say("%d, word %u\n", shared_count, lock_word);
}

static pthread_mutex_t mutex;

static void *hold_and_end(void *arg) {
    (void)arg;
    pthread_mutex_lock(&mutex);
    return NULL;
}

static void *hold(void *arg) {
    pthread_mutex_lock(&mutex);
    sleep_ms(*(int *)arg);
    pthread_mutex_unlock(&mutex);
    return NULL;
}

static void make(int robust) {
    pthread_mutexattr_t kind;
    pthread_mutexattr_init(&kind);
    R(pthread_mutexattr_setprotocol(&kind, PTHREAD_PRIO_INHERIT));
    if (robust)
        R(pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST));
    R(pthread_mutex_init(&mutex, &kind));
}

CASE(pi_mutex) {
    make(0);
    R(pthread_mutex_lock(&mutex));
    R(pthread_mutex_trylock(&mutex));
    R(pthread_mutex_unlock(&mutex));
    int time = 300;
    pthread_t thread;
    pthread_create(&thread, NULL, hold, &time);
    sleep_ms(60);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 20000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    R(pthread_mutex_timedlock(&mutex, &until) == ETIMEDOUT);
    R(pthread_mutex_lock(&mutex));
    R(pthread_mutex_unlock(&mutex));
    pthread_join(thread, NULL);
}

CASE(pi_robust_owner_ends) {
    make(1);
    pthread_t thread;
    pthread_create(&thread, NULL, hold_and_end, NULL);
    pthread_join(thread, NULL);
    R(pthread_mutex_lock(&mutex) == EOWNERDEAD);
    R(pthread_mutex_consistent(&mutex));
    R(pthread_mutex_unlock(&mutex));
    R(pthread_mutex_lock(&mutex));
    R(pthread_mutex_unlock(&mutex));
}

CASE(pi_errors) {
    unsigned word = syscall(SYS_gettid);
    R(futex(&word, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
    R(futex(&word, FUTEX_TRYLOCK_PI, 0, NULL, NULL, 0));
    word = 4000000;
    R(futex(&word, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
    R(futex(&word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
    word = 0;
    R(futex(&word, FUTEX_TRYLOCK_PI, 0, NULL, NULL, 0));
    say("%d\n", word == (unsigned)syscall(SYS_gettid));
    R(futex(&word, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
    say("%u\n", word);
    R(futex((unsigned *)((char *)&word + 1), FUTEX_LOCK_PI, 0, NULL, NULL, 0));
    R(futex((unsigned *)8, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
    struct timespec bad = {0, -1};
    R(futex(&word, FUTEX_LOCK_PI, 0, &bad, NULL, 0));
}
