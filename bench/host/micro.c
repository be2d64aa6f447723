/* Microbenchmarks of the host interface: one static program, run as the first program of each guest. It prints a line
   `row NAME NANOSECONDS UNIT` for each row and ends with `row end 0 -`. Every row finds its own number of iterations, so
   that a batch takes BATCH_NS, and tells the fastest of BATCHES: a batch is short enough to fit between two turns of the
   host's scheduler, so on a busy host the fastest is one that was not disturbed. Of two threads on two CPUs the fastest batch
   is one in which hardly anybody slept, so rows across CPUs tell the median.
   Arguments: beginnings of the names of the rows to run (default: all). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef BATCHES
#define BATCHES 80
#define BATCH_NS 2000000u
#endif
#define PAGE 4096
#define FILE_BYTES (4u << 20)
#define FILE_PATH "/tmp/bench.file"

static const char *self;

static void fail(const char *what) {
    printf("failed: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void pin(int cpu) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof set, &set)) fail("sched_setaffinity");
}

static int other_cpu(void) { return sysconf(_SC_NPROCESSORS_ONLN) > 1 ? 1 : 0; }

/* System calls without libc's own work around them. */

static uint64_t getppid_row(uint64_t n) {
    uint64_t start = now();
    for (uint64_t i = 0; i < n; i++) syscall(SYS_getppid);
    return now() - start;
}

static uint64_t clock_row(uint64_t n) {
    struct timespec t;
    uint64_t start = now();
    for (uint64_t i = 0; i < n; i++) clock_gettime(CLOCK_MONOTONIC, &t);
    return now() - start;
}

/* Futexes: one word says whose turn it is. */

static _Atomic uint32_t turn;
static uint64_t rounds;
static int partner_cpu;

static void wait_turn(uint32_t mine) {
    uint32_t seen;
    while ((seen = atomic_load(&turn)) != mine) syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, seen, NULL, NULL, 0);
}

static void pass_turn(uint32_t to) {
    atomic_store(&turn, to);
    syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *futex_partner(void *unused) {
    pin(partner_cpu);
    for (uint64_t i = 0; i < rounds; i++) {
        wait_turn(1);
        pass_turn(0);
    }
    return unused;
}

static uint64_t futex_rounds(uint64_t n, int cpu) {
    pthread_t partner;
    rounds = n + 1;
    partner_cpu = cpu;
    atomic_store(&turn, 0);
    if (pthread_create(&partner, NULL, futex_partner, NULL)) fail("pthread_create");
    pass_turn(1);
    wait_turn(0);
    uint64_t start = now();
    for (uint64_t i = 0; i < n; i++) {
        pass_turn(1);
        wait_turn(0);
    }
    uint64_t took = now() - start;
    pthread_join(partner, NULL);
    return took / 2;
}

static uint64_t futex_across_row(uint64_t n) { return futex_rounds(n, other_cpu()); }
static uint64_t futex_switch_row(uint64_t n) { return futex_rounds(n, 0); }

static uint64_t futex_wake_row(uint64_t n) {
    uint64_t start = now();
    for (uint64_t i = 0; i < n; i++) syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    return now() - start;
}

/* Pipes. */

static void put(int fd) {
    if (write(fd, "x", 1) != 1) fail("write");
}

static int get(int fd) {
    char byte;
    return read(fd, &byte, 1) == 1;
}

static pid_t child_of(int cpu) {
    pid_t child = fork();
    if (child < 0) fail("fork");
    if (!child) pin(cpu);
    return child;
}

static uint64_t pipe_rounds(uint64_t n, int cpu) {
    int there[2], back[2];
    if (pipe(there) || pipe(back)) fail("pipe");
    pid_t child = child_of(cpu);
    if (!child) {
        close(there[1]);
        while (get(there[0])) put(back[1]);
        _exit(0);
    }
    put(there[1]);
    get(back[0]);
    uint64_t start = now();
    for (uint64_t i = 0; i < n; i++) {
        put(there[1]);
        get(back[0]);
    }
    uint64_t took = now() - start;
    close(there[0]), close(there[1]), close(back[0]), close(back[1]);
    waitpid(child, NULL, 0);
    return took / 2;
}

static uint64_t pipe_switch_row(uint64_t n) { return pipe_rounds(n, 0); }
static uint64_t pipe_across_row(uint64_t n) { return pipe_rounds(n, other_cpu()); }

static char chunk[65536];

static uint64_t pipe_bytes(uint64_t n, int cpu) {
    int data[2], done[2];
    if (pipe(data) || pipe(done)) fail("pipe");
    pid_t child = child_of(cpu);
    if (!child) {
        close(data[1]);
        while (read(data[0], chunk, sizeof chunk) > 0) { }
        put(done[1]);
        _exit(0);
    }
    close(data[0]);
    uint64_t start = now();
    for (uint64_t i = 0; i < n; i++) {
        for (size_t at = 0; at < sizeof chunk;) {
            ssize_t wrote = write(data[1], chunk, sizeof chunk - at);
            if (wrote <= 0) fail("write");
            at += (size_t)wrote;
        }
    }
    close(data[1]);
    get(done[0]);
    uint64_t took = now() - start;
    close(done[0]), close(done[1]);
    waitpid(child, NULL, 0);
    return took;
}

static uint64_t pipe_bytes_row(uint64_t n) { return pipe_bytes(n, 0); }
static uint64_t pipe_bytes_across_row(uint64_t n) { return pipe_bytes(n, other_cpu()); }

/* Memory. The first access to each page of 4 MiB. */

static uint64_t touch(uint64_t n, int fd, int protection, int write) {
    uint64_t took = 0;
    const uint64_t pages = FILE_BYTES / PAGE;
    while (n) {
        uint64_t now_pages = n < pages ? n : pages;
        int flags = MAP_PRIVATE | (fd < 0 ? MAP_ANONYMOUS : 0);
        volatile char *at = mmap(NULL, FILE_BYTES, protection, flags, fd, 0);
        if (at == MAP_FAILED) fail("mmap");
        uint64_t start = now();
        for (uint64_t i = 0; i < now_pages; i++) {
            if (write) at[i * PAGE] = 1;
            else (void)at[i * PAGE];
        }
        took += now() - start;
        if (munmap((void *)at, FILE_BYTES)) fail("munmap");
        n -= now_pages;
    }
    return took;
}

static int open_file(void) {
    int fd = open(FILE_PATH, O_RDONLY | O_CLOEXEC);
    if (fd < 0) fail(FILE_PATH);
    return fd;
}

static uint64_t touch_file(uint64_t n, int protection, int write) {
    int fd = open_file();
    uint64_t took = touch(n, fd, protection, write);
    close(fd);
    return took;
}

static uint64_t fault_anon_row(uint64_t n) { return touch(n, -1, PROT_READ | PROT_WRITE, 1); }
static uint64_t fault_file_row(uint64_t n) { return touch_file(n, PROT_READ, 0); }
static uint64_t fault_copy_row(uint64_t n) { return touch_file(n, PROT_READ | PROT_WRITE, 1); }

static uint64_t map_row(uint64_t n) {
    uint64_t start = now();
    for (uint64_t i = 0; i < n; i++) {
        void *at = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED || munmap(at, 65536)) fail("mmap");
    }
    return now() - start;
}

static uint64_t map_touch_row(uint64_t n) {
    uint64_t start = now();
    for (uint64_t i = 0; i < n; i++) {
        char *at = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED) fail("mmap");
        for (size_t page = 0; page < 65536; page += PAGE) ((volatile char *)at)[page] = 1;
        if (munmap(at, 65536)) fail("munmap");
    }
    return now() - start;
}

static uint64_t protect_row(uint64_t n) {
    char *at = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) fail("mmap");
    memset(at, 1, 65536);
    uint64_t start = now();
    for (uint64_t i = 0; i < n; i++)
        if (mprotect(at, 65536, i & 1 ? PROT_READ | PROT_WRITE : PROT_READ)) fail("mprotect");
    uint64_t took = now() - start;
    munmap(at, 65536);
    return took;
}

/* Processes and threads. */

static uint64_t fork_row(uint64_t n) {
    uint64_t start = now();
    for (uint64_t i = 0; i < n; i++) {
        pid_t child = fork();
        if (child < 0) fail("fork");
        if (!child) _exit(0);
        waitpid(child, NULL, 0);
    }
    return now() - start;
}

static uint64_t exec_row(uint64_t n) {
    uint64_t start = now();
    for (uint64_t i = 0; i < n; i++) {
        pid_t child = fork();
        if (child < 0) fail("fork");
        if (!child) {
            execl(self, self, "--exit", NULL);
            _exit(127);
        }
        int status;
        if (waitpid(child, &status, 0) != child || status) fail("exec");
    }
    return now() - start;
}

static void *nothing(void *unused) { return unused; }

static uint64_t thread_row(uint64_t n) {
    uint64_t start = now();
    for (uint64_t i = 0; i < n; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, nothing, NULL)) fail("pthread_create");
        pthread_join(thread, NULL);
    }
    return now() - start;
}

/* Events and files. */

static uint64_t epoll_row(uint64_t n) {
    int events = epoll_create1(0), event = eventfd(0, EFD_NONBLOCK);
    struct epoll_event interest = {.events = EPOLLIN}, found;
    uint64_t value = 1;
    if (events < 0 || event < 0 || epoll_ctl(events, EPOLL_CTL_ADD, event, &interest)) fail("epoll");
    uint64_t start = now();
    for (uint64_t i = 0; i < n; i++) {
        if (write(event, &value, 8) != 8) fail("write");
        if (epoll_wait(events, &found, 1, -1) != 1) fail("epoll_wait");
        if (read(event, &value, 8) != 8) fail("read");
    }
    uint64_t took = now() - start;
    close(event), close(events);
    return took;
}

static uint64_t socket_row(uint64_t n) {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) fail("socketpair");
    uint64_t start = now();
    for (uint64_t i = 0; i < n; i++) {
        put(pair[0]);
        get(pair[1]);
    }
    uint64_t took = now() - start;
    close(pair[0]), close(pair[1]);
    return took;
}

static uint64_t read_row(uint64_t n, size_t bytes) {
    int fd = open_file();
    uint64_t start = now();
    for (uint64_t i = 0; i < n; i++)
        if (pread(fd, chunk, bytes, (off_t)(i % 16 * bytes)) != (ssize_t)bytes) fail("pread");
    uint64_t took = now() - start;
    close(fd);
    return took;
}

static uint64_t read_small_row(uint64_t n) { return read_row(n, 4096); }
static uint64_t read_large_row(uint64_t n) { return read_row(n, sizeof chunk); }

static uint64_t write_row(uint64_t n) {
    int fd = open("/tmp/bench.out", O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0) fail("/tmp/bench.out");
    uint64_t start = now();
    for (uint64_t i = 0; i < n; i++)
        if (pwrite(fd, chunk, 4096, (off_t)(i % 16 * 4096)) != 4096) fail("pwrite");
    uint64_t took = now() - start;
    close(fd);
    unlink("/tmp/bench.out");
    return took;
}

static uint64_t open_row(uint64_t n) {
    uint64_t start = now();
    for (uint64_t i = 0; i < n; i++) close(open_file());
    return now() - start;
}

static uint64_t stat_row(uint64_t n) {
    struct stat status;
    uint64_t start = now();
    for (uint64_t i = 0; i < n; i++)
        if (stat(FILE_PATH, &status)) fail(FILE_PATH);
    return now() - start;
}

static void on_signal(int signal) { (void)signal; }

static uint64_t signal_row(uint64_t n) {
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGUSR1, &action, NULL);
    pid_t pid = getpid(), tid = (pid_t)syscall(SYS_gettid);
    uint64_t start = now();
    for (uint64_t i = 0; i < n; i++) syscall(SYS_tgkill, pid, tid, SIGUSR1);
    return now() - start;
}

static const struct row {
    const char *name, *unit;
    uint64_t (*run)(uint64_t);
} rows[] = {
    {"getppid", "call", getppid_row},
    {"clock_gettime", "call", clock_row},
    {"futex-wake-none", "call", futex_wake_row},
    {"futex-across-cpus", "wake-up", futex_across_row},
    {"futex-switch", "switch", futex_switch_row},
    {"pipe-switch", "switch", pipe_switch_row},
    {"pipe-across-cpus", "wake-up", pipe_across_row},
    {"pipe-bytes", "64 KiB", pipe_bytes_row},
    {"pipe-bytes-across-cpus", "64 KiB", pipe_bytes_across_row},
    {"socketpair", "byte there", socket_row},
    {"epoll", "round", epoll_row},
    {"signal", "handler", signal_row},
    {"fault-anonymous", "page", fault_anon_row},
    {"fault-file-read", "page", fault_file_row},
    {"fault-file-copy", "page", fault_copy_row},
    {"mmap-munmap", "pair", map_row},
    {"mmap-touch-munmap", "16 pages", map_touch_row},
    {"mprotect", "16 pages", protect_row},
    {"fork-wait", "process", fork_row},
    {"fork-exec-wait", "process", exec_row},
    {"thread-create-join", "thread", thread_row},
    {"read-4k", "call", read_small_row},
    {"read-64k", "call", read_large_row},
    {"write-4k", "call", write_row},
    {"open-close", "pair", open_row},
    {"stat", "call", stat_row},
};

/* Returns how many iterations take about BATCH_NS: by the fastest of three, as one that was interrupted by the host would
   leave all batches with a few iterations, and their first one costs more than the others (a fault maps 16 pages of a file). */
static uint64_t calibrate(const struct row *row) {
    for (uint64_t n = 1;; n *= 2) {
        uint64_t took = row->run(n);
        for (int i = 1; i < 3 && took >= BATCH_NS / 4; i++) {
            uint64_t again = row->run(n);
            if (again < took) took = again;
        }
        if (took >= BATCH_NS / 4) {
            n = n * BATCH_NS / took;
            return n ? n : 1;
        }
    }
}

static int compare(const void *a, const void *b) {
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void measure(const struct row *row) {
    uint64_t n = calibrate(row);
    double each[BATCHES];
    for (int i = 0; i < BATCHES; i++) each[i] = (double)row->run(n) / (double)n;
    qsort(each, BATCHES, sizeof *each, compare);
    int which = strstr(row->name, "across-cpus") ? BATCHES / 2 : 0;
    printf("row %s %.1f %s\n", row->name, each[which], row->unit);
}

static void make_file(void) {
    mkdir("/tmp", 01777);
    int fd = open(FILE_PATH, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0) fail(FILE_PATH);
    memset(chunk, 'x', sizeof chunk);
    for (uint32_t at = 0; at < FILE_BYTES; at += sizeof chunk)
        if (write(fd, chunk, sizeof chunk) != sizeof chunk) fail(FILE_PATH);
    close(fd);
}

static int wanted(const char *name, int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (!strncmp(name, argv[i], strlen(argv[i]))) return 1;
    return argc < 2;
}

int main(int argc, char **argv) {
    if (argc == 2 && !strcmp(argv[1], "--exit")) return 0;
    self = argv[0];
    setvbuf(stdout, NULL, _IOLBF, 0);
    pin(0);
    make_file();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (wanted(rows[i].name, argc, argv)) measure(&rows[i]);
    puts("row end 0 -");
    return 0;
}
