/* pthreads(7) and futex(2). */
#include "abi.h"

#include <linux/futex.h>
#include <semaphore.h>
#include <sys/resource.h>

static long futex(void *word, int op, unsigned value, const struct timespec *t, void *word2,
                  unsigned value3) {
    return syscall(SYS_futex, word, op, value, t, word2, value3);
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static long counter;

static void *add(void *arg) {
    for (int i = 0; i < 20000; i++) {
        pthread_mutex_lock(&mutex);
        counter++;
        pthread_mutex_unlock(&mutex);
    }
    return arg;
}

CASE(thread_mutex) {
    pthread_t t[8];
    for (long i = 0; i < 8; i++)
        pthread_create(&t[i], 0, add, (void *)i);
    long sum = 0;
    for (int i = 0; i < 8; i++) {
        void *result;
        pthread_join(t[i], &result);
        sum += (long)result;
    }
    say("counter %ld, results %ld\n", counter, sum);
}

static int turn;

static void *ping_pong(void *arg) {
    int me = (int)(long)arg;
    for (int i = 0; i < 2000; i++) {
        pthread_mutex_lock(&mutex);
        while (turn != me)
            pthread_cond_wait(&cond, &mutex);
        turn = (turn + 1) % 3;
        counter++;
        pthread_cond_broadcast(&cond);
        pthread_mutex_unlock(&mutex);
    }
    return 0;
}

CASE(thread_condition) {
    pthread_t t[3];
    for (long i = 0; i < 3; i++)
        pthread_create(&t[i], 0, ping_pong, (void *)i);
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], 0);
    say("counter %ld, turn %d\n", counter, turn);
}

static __thread int local = 5;
static pthread_barrier_t barrier;

static void *use_local(void *arg) {
    pthread_barrier_wait(&barrier);
    local += (int)(long)arg;
    pthread_barrier_wait(&barrier);
    return (void *)(long)local;
}

CASE(thread_local_storage) {
    pthread_t t[5];
    pthread_barrier_init(&barrier, 0, 5);
    for (long i = 0; i < 5; i++)
        pthread_create(&t[i], 0, use_local, (void *)i);
    for (int i = 0; i < 5; i++) {
        void *result;
        pthread_join(t[i], &result);
        say("%ld ", (long)result);
    }
    say("here %d\n", local);
}

CASE(futex_errors) {
    static unsigned word = 7;
    struct timespec bad = {0, 1000000000}, t = {0, 20000000}, zero = {0, 0};
    R(futex(&word, FUTEX_WAIT, 8, 0, 0, 0));
    R(futex(&word, FUTEX_WAIT, 7, &bad, 0, 0));
    R(futex(&word, FUTEX_WAIT, 7, &t, 0, 0));
    R(futex(&word, FUTEX_WAIT, 7, &zero, 0, 0));
    R(futex((char *)&word + 1, FUTEX_WAIT, 7, 0, 0, 0));
    R(futex((void *)8, FUTEX_WAIT, 7, 0, 0, 0));
    R(futex((void *)0xffff800000000000UL, FUTEX_WAIT, 7, 0, 0, 0));
    R(futex(&word, FUTEX_WAIT_BITSET, 7, 0, 0, 0));
    R(futex(&word, FUTEX_WAKE_BITSET, 1, 0, 0, 0));
    R(futex(&word, FUTEX_WAKE, 1, 0, 0, 0));
    R(futex(&word, 99, 1, 0, 0, 0));
    R(futex(&word, FUTEX_CMP_REQUEUE, 1, (void *)1, &word, 8));
    clock_gettime(CLOCK_MONOTONIC, &t);
    R(futex(&word, FUTEX_WAIT_BITSET, 7, &t, 0, FUTEX_BITSET_MATCH_ANY));
    clock_gettime(CLOCK_REALTIME, &t);
    R(futex(&word, FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME, 7, &t, 0, FUTEX_BITSET_MATCH_ANY));
}

static unsigned gate, second;
static int waiting, woken;

static void *wait_at_gate(void *arg) {
    unsigned bits = (unsigned)(long)arg;
    __atomic_fetch_add(&waiting, 1, __ATOMIC_SEQ_CST);
    long r = bits ? futex(&gate, FUTEX_WAIT_BITSET_PRIVATE, 0, 0, 0, bits)
                  : futex(&gate, FUTEX_WAIT_PRIVATE, 0, 0, 0, 0);
    if (r == 0)
        __atomic_fetch_add(&woken, 1, __ATOMIC_SEQ_CST);
    return 0;
}

/* Starts threads that wait at the gate, and returns when all are (nearly certainly) asleep. */
static void start_waiters(pthread_t *t, int count, long bits) {
    waiting = woken = 0;
    for (int i = 0; i < count; i++)
        pthread_create(&t[i], 0, wait_at_gate, (void *)bits);
    while (__atomic_load_n(&waiting, __ATOMIC_SEQ_CST) < count)
        sched_yield();
    sleep_ms(100);
}

static void join_all(pthread_t *t, int count) {
    for (int i = 0; i < count; i++)
        pthread_join(t[i], 0);
    say("woken %d\n", woken);
}

CASE(futex_wake_counts) {
    pthread_t t[5];
    start_waiters(t, 5, 0);
    R(futex(&gate, FUTEX_WAKE_PRIVATE, 2, 0, 0, 0));
    R(futex(&gate, FUTEX_WAKE_PRIVATE, 0x7fffffff, 0, 0, 0));
    R(futex(&gate, FUTEX_WAKE_PRIVATE, 1, 0, 0, 0));
    join_all(t, 5);
}

CASE(futex_bitset) {
    pthread_t t[3];
    start_waiters(t, 3, 6);
    R(futex(&gate, FUTEX_WAKE_BITSET_PRIVATE, 9, 0, 0, 9));
    R(futex(&gate, FUTEX_WAKE_BITSET_PRIVATE, 2, 0, 0, 4));
    R(futex(&gate, FUTEX_WAKE_BITSET_PRIVATE, 9, 0, 0, 2));
    join_all(t, 3);
}

CASE(futex_requeue) {
    pthread_t t[6];
    start_waiters(t, 6, 0);
    R(futex(&gate, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)2, &second, 1));
    R(futex(&gate, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)2, &second, 0));
    R(futex(&second, FUTEX_WAKE_PRIVATE, 9, 0, 0, 0));
    R(futex(&gate, FUTEX_REQUEUE_PRIVATE, 0, (void *)9, &second, 0));
    R(futex(&gate, FUTEX_WAKE_PRIVATE, 9, 0, 0, 0));
    R(futex(&second, FUTEX_WAKE_PRIVATE, 9, 0, 0, 0));
    join_all(t, 6);
}

CASE(futex_wake_op) {
    pthread_t t[2];
    start_waiters(t, 2, 0);
    second = 5;
    R(futex(&second, FUTEX_WAKE_OP_PRIVATE, 1, (void *)1, &gate,
            FUTEX_OP(FUTEX_OP_ADD, 3, FUTEX_OP_CMP_EQ, 0)));
    say("gate %u\n", gate);
    R(futex(&gate, FUTEX_WAKE_PRIVATE, 9, 0, 0, 0));
    join_all(t, 2);
}

/* Between processes, through shared memory. */
CASE(futex_shared) {
    struct {
        sem_t ready, done;
        unsigned word;
    } *s = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    MUST(s == MAP_FAILED ? -1 : 0);
    sem_init(&s->ready, 1, 0);
    sem_init(&s->done, 1, 0);
    pid_t child = MUST(fork());
    if (child == 0) {
        for (int i = 0; i < 500; i++) {
            sem_wait(&s->ready);
            s->word++;
            sem_post(&s->done);
        }
        _exit(0);
    }
    for (int i = 0; i < 500; i++) {
        sem_post(&s->ready);
        sem_wait(&s->done);
    }
    say("word %u\n", s->word);
    reap("child", child);
}

static pthread_mutex_t robust;

static void *die_with_lock(void *arg) {
    pthread_mutex_lock(&robust);
    return arg;
}

CASE(futex_robust) {
    pthread_mutexattr_t a;
    pthread_mutexattr_init(&a);
    pthread_mutexattr_setrobust(&a, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&robust, &a);
    pthread_t t;
    pthread_create(&t, 0, die_with_lock, 0);
    pthread_join(t, 0);
    say("lock: %s\n", strerrorname_np(pthread_mutex_lock(&robust)));
    say("consistent: %d\n", pthread_mutex_consistent(&robust));
    say("unlock: %d\n", pthread_mutex_unlock(&robust));
    say("lock: %d\n", pthread_mutex_lock(&robust));
}

static void *nothing(void *arg) {
    return arg;
}

CASE(thread_many) {
    int made = 0;
    for (int round = 0; round < 20; round++) {
        pthread_t t[20];
        for (int i = 0; i < 20; i++)
            made += pthread_create(&t[i], 0, nothing, 0) == 0;
        for (int i = 0; i < 20; i++)
            pthread_join(t[i], 0);
    }
    say("made and joined %d\n", made);
}

/* Floating-point and vector registers survive preemption and system calls. */
static void *keep_registers(void *arg) {
    double me = (double)(long)arg, d[8];
    for (int i = 0; i < 8; i++)
        d[i] = me * (i + 1);
    long wrong = 0;
    for (int round = 0; round < 300; round++) {
        __asm__ volatile("movups (%0), %%xmm6\n movups 16(%0), %%xmm7\n"
                         "movups 32(%0), %%xmm14\n movups 48(%0), %%xmm15\n"
                         "movl $24, %%eax\n syscall\n" /* sched_yield */
                         "movl $200000, %%ecx\n 1: loop 1b\n"
                         "movups %%xmm6, (%0)\n movups %%xmm7, 16(%0)\n"
                         "movups %%xmm14, 32(%0)\n movups %%xmm15, 48(%0)\n" ::"r"(d)
                         : "rax", "rcx", "r11", "xmm6", "xmm7", "xmm14", "xmm15", "memory");
        for (int i = 0; i < 8; i++)
            wrong += d[i] != me * (i + 1);
    }
    return (void *)wrong;
}

CASE(thread_registers) {
    pthread_t t[4];
    long wrong = 0;
    for (long i = 0; i < 4; i++)
        pthread_create(&t[i], 0, keep_registers, (void *)(i + 1));
    for (int i = 0; i < 4; i++) {
        void *w;
        pthread_join(t[i], &w);
        wrong += (long)w;
    }
    say("wrong registers: %ld\n", wrong);
}

static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;

static void *wait_for_mutex(void *arg) {
    pthread_mutex_lock(&held);
    pthread_mutex_unlock(&held);
    return arg;
}

/* As many threads as the address space has room for: the next is EAGAIN, and works once one has gone. */
CASE(thread_exhaustion) {
    struct rlimit limit = {96 << 20, 96 << 20};
    MUST(setrlimit(RLIMIT_AS, &limit));
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 4 << 20);
    static pthread_t t[64];
    int made = 0, error = 0;
    pthread_mutex_lock(&held);
    while (made < 64 && (error = pthread_create(&t[made], &attr, wait_for_mutex, NULL)) == 0)
        made++;
    say("some %d, then %s\n", made > 4 && made < 64, strerrorname_np(error));
    say("again %s\n", strerrorname_np(pthread_create(&t[made], &attr, wait_for_mutex, NULL)));
    pthread_mutex_unlock(&held);
    for (int i = 0; i < made; i++)
        MUST(pthread_join(t[i], NULL));
    R(pthread_create(&t[0], &attr, wait_for_mutex, NULL));
    R(pthread_join(t[0], NULL));
}
