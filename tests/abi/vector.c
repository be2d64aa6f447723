/* Every vectored call on every kind of descriptor: the pieces must arrive whole and in order, and an error in the second
 * piece must not lose the first. */
#include "abi.h"

#include <sys/eventfd.h>
#include <sys/ioctl.h>

static struct iovec *pieces(struct iovec v[3]) {
    static char a[] = "one", b[] = "", c[] = "three";
    v[0] = (struct iovec){a, 3};
    v[1] = (struct iovec){b, 0};
    v[2] = (struct iovec){c, 5};
    return v;
}

/* Writes the pieces, then one piece, then an empty vector; reads all back in pieces. */
static void both_ways(const char *what, int in, int out) {
    struct iovec v[3];
    char a[2], b[4], c[32];
    struct iovec into[3] = {{a, sizeof a}, {b, sizeof b}, {c, sizeof c}};
    say("%s\n", what);
    R(writev(out, pieces(v), 3));
    R(writev(out, pieces(v), 1));
    R(writev(out, v, 0));
    R(writev(out, v + 1, 1));
    memset(a, 0, sizeof a), memset(b, 0, sizeof b), memset(c, 0, sizeof c);
    R(readv(in, into, 3));
    say("%.2s|%.4s|%.32s\n", a, b, c);
    R(writev(out, v, -1));
    R(writev(out, v, 1025));
    R(readv(in, v, 1025));
    R(writev(out, (struct iovec *)8, 1));
    struct iovec huge[2] = {{a, 1}, {a, (size_t)-1}};
    R(writev(out, huge, 2));
}

CASE(vector_kinds) {
    int fd = MUST(open("f", O_RDWR | O_CREAT, 0600));
    int again = MUST(open("f", O_RDONLY));
    both_ways("file", again, fd);
    int m = MUST(memfd_create("m", 0));
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", m);
    both_ways("memfd", MUST(open(path, O_RDONLY)), m);
    int p[2];
    MUST(pipe(p));
    both_ways("pipe", p[0], p[1]);
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, p));
    both_ways("stream", p[0], p[1]);
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, p));
    int on = 1;
    MUST(ioctl(p[0], 0x5421, &on));
    both_ways("datagram", p[0], p[1]);
    MUST(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, p));
    MUST(ioctl(p[0], 0x5421, &on));
    both_ways("packet", p[0], p[1]);
    int null = MUST(open("/dev/null", O_RDWR));
    both_ways("null", null, null);
    int zero = MUST(open("/dev/zero", O_RDWR));
    both_ways("zero", zero, zero);
    int full = MUST(open("/dev/full", O_RDWR));
    both_ways("full", full, full);
    int dir = MUST(open(".", O_RDONLY));
    both_ways("directory", dir, dir);
    int version = MUST(open("/proc/self/comm", O_RDONLY));
    struct iovec v[2];
    char a[3] = {0}, b[3] = {0};
    v[0] = (struct iovec){a, 2};
    v[1] = (struct iovec){b, 1};
    R(readv(version, v, 2));
    say("%s|%s\n", a, b);
    int e = MUST(eventfd(0, EFD_NONBLOCK));
    unsigned long count = 3;
    struct iovec whole = {&count, 8};
    R(writev(e, &whole, 1));
    count = 0;
    R(readv(e, &whole, 1));
    say("%ld\n", (long)count);
}

/* A bad address in the second piece: what came before it counts. */
CASE(vector_bad_piece) {
    char good[8] = "good";
    struct iovec v[2] = {{good, 4}, {(void *)8, 4}};
    int fd = MUST(open("f", O_RDWR | O_CREAT, 0600));
    R(writev(fd, v + 1, 1));
    MUST(pwrite(fd, "12345678", 8, 0));
    R(readv(fd, v + 1, 1));
    R(preadv(fd, v + 1, 1, 0));
    int p[2];
    MUST(pipe(p));
    R(writev(p[1], v + 1, 1));
    R(write(p[1], (void *)8, 0));
    R(read(p[0], (void *)8, 0));
    R(write(-1, (void *)8, 0));
    R(pread(p[0], good, 1, 0));
    R(pwrite(p[1], good, 1, 0));
}

CASE(vector_positions) {
    int fd = MUST(open("f", O_RDWR | O_CREAT, 0600));
    struct iovec v[3];
    R(pwritev(fd, pieces(v), 3, 4));
    R(lseek(fd, 0, SEEK_CUR));
    char a[4] = {0}, b[20] = {0};
    struct iovec into[2] = {{a, 3}, {b, 19}};
    R(preadv(fd, into, 2, 4));
    say("%s|%s\n", a, b);
    R(preadv(fd, into, 2, -1));
    R(pwritev(fd, v, 1, -1));
    R(lseek(fd, 2, SEEK_SET));
    R(preadv2(fd, into, 1, -1, 0));
    R(lseek(fd, 0, SEEK_CUR));
    R(pwritev2(fd, v, 1, 0, RWF_APPEND));
    R(lseek(fd, 0, SEEK_END));
    R(pwritev2(fd, v, 1, 0, RWF_DSYNC));
    R(preadv2(fd, into, 1, 0, RWF_NOWAIT) >= 0);
    R(preadv2(fd, into, 1, 0, 0x8000));
    R(preadv2(fd, into, 1, -2, 0));
    int p[2];
    MUST(pipe(p));
    R(preadv(p[0], into, 1, 0));
    R(preadv2(p[0], into, 1, -1, RWF_NOWAIT));
    R(pwritev2(p[1], v, 1, -1, 0));
    int app = MUST(open("f", O_RDWR | O_APPEND));
    R(pwrite(app, "tail", 4, 0));
    R(lseek(app, 0, SEEK_END));
}

CASE(vector_copy_range) {
    int a = MUST(open("a", O_RDWR | O_CREAT, 0600));
    int b = MUST(open("b", O_RDWR | O_CREAT, 0600));
    MUST(write(a, "0123456789", 10));
    MUST(lseek(a, 2, SEEK_SET));
    R(copy_file_range(a, 0, b, 0, 4, 0));
    R(lseek(a, 0, SEEK_CUR));
    R(lseek(b, 0, SEEK_CUR));
    off_t from = 8, to = 1;
    R(copy_file_range(a, &from, b, &to, 100, 0));
    say("%d %d\n", (int)from, (int)to);
    char buf[16] = {0};
    R(pread(b, buf, 15, 0));
    say("%s\n", buf);
    R(copy_file_range(a, 0, b, 0, 4, 1));
    from = 0, to = 2;
    R(copy_file_range(a, &from, a, &to, 5, 0));
    from = 0, to = 20;
    R(copy_file_range(a, &from, a, &to, 5, 0));
    int ro = MUST(open("b", O_RDONLY));
    R(copy_file_range(a, 0, ro, 0, 4, 0));
    int d = MUST(open(".", O_RDONLY));
    R(copy_file_range(d, 0, b, 0, 4, 0));
    int p[2];
    MUST(pipe(p));
    R(copy_file_range(p[0], 0, b, 0, 4, 0));
    from = 20;
    R(copy_file_range(a, &from, b, 0, 0, 0));
}
