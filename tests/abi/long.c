/* Reads and writes of many bytes: others run meanwhile, and yet each is one step to those with the same position or end. */
#include "abi.h"

#define MIB (1 << 20)
/* Takes about a time slice or more. */
#define LONG (32 * MIB)

#define TRIES 100

/* What is filled with which byte, in which try, and whether another thread on the same CPU found it filled in part. */
static volatile char *filled, with;
static volatile int turn, found;

static void *look(void *arg) {
    (void)arg;
    for (;;) {
        int now = turn;
        /* In this order: all of it may be filled between the two. */
        if (now && filled[0] == with && filled[LONG - 1] != with && turn == now)
            found = 1;
    }
    return NULL;
}

/* Has another thread look, on the one CPU that the process may use from now on. */
static void share_one_cpu(void) {
    cpu_set_t set;
    MUST(sched_getaffinity(0, sizeof set, &set));
    int cpu = 0;
    while (!CPU_ISSET(cpu, &set))
        cpu++;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    MUST(sched_setaffinity(0, sizeof set, &set));
    pthread_t thread;
    pthread_create(&thread, NULL, look, NULL);
}

CASE(long_read_lets_others_run) {
    char *buffer = mmap(NULL, LONG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    filled = buffer;
    int fd = MUST(open("f", O_RDWR | O_CREAT, 0600));
    MUST(ftruncate(fd, LONG));
    share_one_cpu();
    for (int i = 1; i <= TRIES && !found; i++) {
        turn = 0;
        memset(buffer, 1, LONG);
        turn = i;
        MUST(pread(fd, buffer, LONG, 0));
    }
    say("others ran %d\n", found);
}

CASE(long_write_lets_others_run) {
    char *buffer = mmap(NULL, LONG, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int fd = MUST(open("f", O_RDWR | O_CREAT, 0600));
    MUST(ftruncate(fd, LONG));
    filled = mmap(NULL, LONG, PROT_READ, MAP_SHARED, fd, 0);
    share_one_cpu();
    for (int i = 1; i <= TRIES && !found; i++) {
        turn = 0;
        memset(buffer, i, LONG);
        with = i;
        turn = i;
        MUST(pwrite(fd, buffer, LONG, 0));
    }
    say("others ran %d\n", found);
}

static int shared;

static void *append(void *arg) {
    char *block = malloc(MIB);
    memset(block, *(char *)arg, MIB);
    for (int i = 0; i < 4; i++)
        MUST(write(shared, block, MIB));
    free(block);
    return NULL;
}

/* Returns the byte that a block consists of, -1 if there are several. */
static int uniform(const char *block) {
    for (int i = 1; i < MIB; i++)
        if (block[i] != block[0])
            return -1;
    return block[0];
}

static void append_with(int flags) {
    shared = MUST(open("f", O_RDWR | O_CREAT | O_TRUNC | flags, 0600));
    pthread_t threads[4];
    char names[4] = "abcd";
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, append, &names[i]);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    int blocks[256] = {0}, broken = 0;
    char *block = malloc(MIB);
    for (int i = 0; i < 16; i++) {
        MUST(pread(shared, block, MIB, (off_t)i * MIB));
        int byte = uniform(block);
        if (byte < 0)
            broken++;
        else
            blocks[byte]++;
    }
    say("a %d b %d c %d d %d broken %d\n", blocks['a'], blocks['b'], blocks['c'], blocks['d'], broken);
    R(lseek(shared, 0, SEEK_CUR));
}

CASE(long_writes_at_the_end_stay_whole) {
    append_with(O_APPEND);
}

CASE(long_writes_at_one_position_stay_whole) {
    append_with(0);
}

static int seen[16], torn_reads;

static void *take(void *arg) {
    (void)arg;
    char *block = malloc(MIB);
    while (MUST(read(shared, block, MIB)) == MIB) {
        int byte = uniform(block);
        if (byte < 0)
            __atomic_add_fetch(&torn_reads, 1, __ATOMIC_SEQ_CST);
        else
            __atomic_add_fetch(&seen[byte], 1, __ATOMIC_SEQ_CST);
    }
    free(block);
    return NULL;
}

CASE(long_reads_at_one_position_stay_whole) {
    shared = MUST(open("f", O_RDWR | O_CREAT, 0600));
    char *block = malloc(MIB);
    for (int i = 0; i < 16; i++) {
        memset(block, i, MIB);
        MUST(write(shared, block, MIB));
    }
    MUST(lseek(shared, 0, SEEK_SET));
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, take, NULL);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    int once = 0;
    for (int i = 0; i < 16; i++)
        once += seen[i] == 1;
    say("%d of 16 blocks once, %d torn\n", once, torn_reads);
}

static int told;

static void read_for_ever(void) {
    char *buffer = malloc(LONG);
    int fd = MUST(open("f", O_RDWR | O_CREAT, 0600));
    MUST(ftruncate(fd, LONG));
    MUST(write(told, "", 1));
    for (;;)
        MUST(pread(fd, buffer, LONG, 0));
}

CASE(long_read_ends_with_its_process) {
    int p[2];
    MUST(pipe(p));
    told = p[1];
    pid_t child = MUST(fork());
    if (child == 0)
        read_for_ever();
    char byte;
    R(read(p[0], &byte, 1));
    sleep_ms(20);
    MUST(kill(child, SIGKILL));
    reap("child", child);
}

static void *truncate_soon(void *arg) {
    for (volatile long spins = *(long *)arg; spins > 0; spins--)
        ;
    MUST(ftruncate(shared, 0));
    MUST(close(open("f", O_WRONLY | O_TRUNC)));
    return NULL;
}

/* A size changes before a write or after it, not in its middle: no hole comes of it. */
CASE(long_write_is_not_truncated_midway) {
    shared = MUST(open("f", O_RDWR | O_CREAT, 0600));
    char *block = malloc(4 * MIB), *found = malloc(4 * MIB);
    memset(block, 7, 4 * MIB);
    int torn = 0;
    for (long i = 0; i < 20; i++) {
        pthread_t thread;
        long spins = i * 20000;
        pthread_create(&thread, NULL, truncate_soon, &spins);
        MUST(pwrite(shared, block, 4 * MIB, 0));
        pthread_join(thread, NULL);
        ssize_t size = MUST(pread(shared, found, 4 * MIB, 0));
        torn += (size != 0 && size != 4 * MIB) || memcmp(found, block, size);
    }
    say("torn %d\n", torn);
}
