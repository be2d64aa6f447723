/* pipe(2), pipe(7). */
#include "abi.h"

#include <sys/ioctl.h>

CASE(pipe_order_and_end) {
    int p[2];
    char buf[32] = {0};
    R(pipe(p));
    R(write(p[1], "hello ", 6));
    R(write(p[1], "world", 5));
    int unread;
    R(ioctl(p[0], FIONREAD, &unread));
    say("unread %d\n", unread);
    R(read(p[0], buf, 8));
    say("%.8s\n", buf);
    close(p[1]);
    R(read(p[0], buf, sizeof buf));
    R(read(p[0], buf, sizeof buf));
    R(read(p[0], buf, 0));
}

CASE(pipe_wrong_end) {
    int p[2];
    char c;
    MUST(pipe(p));
    R(read(p[1], &c, 1));
    R(write(p[0], "x", 1));
    R(lseek(p[0], 0, SEEK_SET));
    R(pread(p[0], &c, 1, 0));
    R(pwrite(p[1], &c, 1, 0));
    R(ftruncate(p[1], 0));
    R(fsync(p[1]));
    R(mmap(0, 4096, PROT_READ, MAP_PRIVATE, p[0], 0));
    R(fcntl(p[0], F_GETFL));
    R(fcntl(p[1], F_GETFL));
}

CASE(pipe_flags) {
    int p[2];
    R(pipe2(p, O_CLOEXEC | O_NONBLOCK));
    R(fcntl(p[0], F_GETFD));
    R(fcntl(p[1], F_GETFL) & O_NONBLOCK);
    char c;
    R(read(p[0], &c, 1));
    R(pipe2(p, O_APPEND));
    R(syscall(SYS_pipe2, (int *)8, 0));
    R(pipe2(p, 0));
    say("lowest descriptors %d %d\n", p[0], p[1]);
}

CASE(pipe_capacity) {
    int p[2];
    static char page[70000];
    MUST(pipe2(p, O_NONBLOCK));
    R(fcntl(p[1], F_GETPIPE_SZ));
    R(write(p[1], page, sizeof page));
    R(write(p[1], page, 1));
    say_events("full", poll_now(p[1]));
    R(read(p[0], page, 4095));
    R(write(p[1], page, 1));
    R(read(p[0], page, 1));
    R(write(p[1], page, 4096));
    R(fcntl(p[1], F_SETPIPE_SZ, 4096));
    R(fcntl(p[1], F_SETPIPE_SZ, 131072));
    R(write(p[1], page, sizeof page));
}

CASE(pipe_capacity_in_pieces) {
    int p[2];
    static char piece[5000];
    int count;
    MUST(pipe2(p, O_NONBLOCK));
    for (count = 0; write(p[1], piece, 1) == 1; count++)
        ;
    say("1: %d\n", count);
    MUST(pipe2(p, O_NONBLOCK));
    for (count = 0; write(p[1], piece, 3000) == 3000; count++)
        ;
    say("3000: %d, then %s\n", count, strerrorname_np(errno));
    R(write(p[1], piece, 1096));
    R(write(p[1], piece, 1));
    MUST(pipe2(p, O_NONBLOCK));
    for (count = 0; write(p[1], piece, 5000) == 5000; count++)
        ;
    say("5000: %d\n", count);
    R(write(p[1], piece, 5000));
    R(write(p[1], piece, 4096));
}

static int broken[2];

static void write_to_broken(void) {
    R(write(broken[1], "x", 1));
}

static void write_to_broken_ignoring(void) {
    signal(SIGPIPE, SIG_IGN);
    R(write(broken[1], "x", 1));
    R(write(broken[1], "x", 0));
}

CASE(pipe_broken) {
    MUST(pipe(broken));
    close(broken[0]);
    say_events("broken", poll_now(broken[1]));
    in_child("default", write_to_broken);
    in_child("ignored", write_to_broken_ignoring);
}

CASE(pipe_poll) {
    int p[2];
    MUST(pipe(p));
    say_events("empty, reader", poll_now(p[0]));
    say_events("empty, writer", poll_now(p[1]));
    MUST(write(p[1], "x", 1));
    say_events("one byte, reader", poll_now(p[0]));
    close(p[1]);
    say_events("writer gone", poll_now(p[0]));
    char c;
    MUST(read(p[0], &c, 1));
    say_events("writer gone, empty", poll_now(p[0]));
}

CASE(pipe_vectors) {
    int p[2];
    MUST(pipe(p));
    struct iovec out[4] = {{"one ", 4}, {0, 0}, {"two ", 4}, {"three", 5}};
    R(writev(p[1], out, 4));
    char a[3], b[20];
    memset(b, 0, sizeof b);
    struct iovec in[2] = {{a, 3}, {b, sizeof b - 1}};
    R(readv(p[0], in, 2));
    say("%.3s|%s\n", a, b);
    R(writev(p[1], out, 0));
    R(writev(p[1], out, -1));
    R(writev(p[1], out, 1025));
    struct iovec huge[2] = {{a, 1}, {a, (size_t)-1}};
    R(writev(p[1], huge, 2));
    R(syscall(SYS_writev, p[1], (void *)8, 1));
}

CASE(pipe_bad_memory) {
    int p[2];
    MUST(pipe2(p, O_NONBLOCK));
    char *page = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(munmap(page + 4096, 4096));
    R(write(p[1], page + 4096, 10));
    R(write(p[1], page + 4090, 10));
    R(write(p[1], page, 8192));
    R(write(p[1], page, 10));
    R(read(p[0], page + 4096, 5));
    R(read(p[0], page + 4000, 96));
    struct iovec out[2] = {{page, 5}, {page + 4096, 5}};
    R(writev(p[1], out, 2));
}

/* A writer that must wait in the middle, and a reader that takes everything slowly. */
CASE(pipe_blocking_write) {
    int p[2];
    MUST(pipe(p));
    pid_t child = MUST(fork());
    if (child == 0) {
        close(p[0]);
        static char data[300000];
        for (size_t i = 0; i < sizeof data; i++)
            data[i] = i % 251;
        ssize_t n = write(p[1], data, sizeof data);
        _exit(n == sizeof data ? 0 : 1);
    }
    close(p[1]);
    static char buf[7000];
    size_t total = 0, wrong = 0;
    ssize_t n;
    sleep_ms(20);
    while ((n = read(p[0], buf, sizeof buf)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            wrong += buf[i] != (char)((total + i) % 251);
        total += n;
    }
    say("read %zu, wrong %zu, last %zd\n", total, wrong, n);
    reap("writer", child);
}

/* Writes of up to PIPE_BUF bytes by several processes never mix. */
CASE(pipe_atomic_writes) {
    int p[2];
    MUST(pipe(p));
    for (int who = 0; who < 3; who++)
        if (MUST(fork()) == 0) {
            close(p[0]);
            char record[512];
            memset(record, 'a' + who, sizeof record);
            for (int i = 0; i < 300; i++)
                if (write(p[1], record, sizeof record) != sizeof record)
                    _exit(1);
            _exit(0);
        }
    close(p[1]);
    int mixed = 0, records = 0;
    char record[512];
    for (;;) {
        size_t have = 0;
        ssize_t n = 1;
        while (have < sizeof record && (n = read(p[0], record + have, sizeof record - have)) > 0)
            have += n;
        if (have < sizeof record)
            break;
        records++;
        for (size_t i = 1; i < sizeof record; i++)
            mixed += record[i] != record[0];
    }
    say("records %d, mixed %d\n", records, mixed);
    int status, ended = 0;
    while (wait(&status) > 0)
        ended += status == 0;
    say("writers that ended well: %d\n", ended);
}
