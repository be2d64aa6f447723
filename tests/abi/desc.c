/* Descriptors and moving data between them: splice(2), tee(2), copy_file_range(2), close_range(2), fcntl(2), xattr(7). */
#include "abi.h"

#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

static int file_with(const char *name, const char *text) {
    int fd = MUST(open(name, O_CREAT | O_TRUNC | O_RDWR, 0600));
    MUST(write(fd, text, strlen(text)));
    MUST(lseek(fd, 0, SEEK_SET));
    return fd;
}

static void show(int fd) {
    char text[128] = {0};
    long n = pread(fd, text, sizeof text - 1, 0);
    say("holds %ld: %s\n", n, text);
}

CASE(desc_splice) {
    int in = file_with("in", "0123456789"), out = file_with("out", ""), pipes[2];
    MUST(pipe(pipes));
    R(splice(in, NULL, pipes[1], NULL, 4, 0));
    R(splice(pipes[0], NULL, out, NULL, 100, 0));
    show(out);
    off_t from = 6, to = 1;
    R(splice(in, &from, pipes[1], NULL, 100, SPLICE_F_MOVE));
    say("%ld\n", (long)from);
    R(lseek(in, 0, SEEK_CUR));
    R(splice(pipes[0], NULL, out, &to, 2, 0));
    say("%ld\n", (long)to);
    show(out);
    R(splice(in, NULL, out, NULL, 4, 0));
    R(splice(pipes[0], &from, out, NULL, 4, 0));
    R(splice(in, NULL, pipes[1], NULL, 0, 0));
    R(splice(in, NULL, pipes[1], NULL, 1, 0x100));
    R(splice(in, NULL, pipes[0], NULL, 1, 0));
    R(splice(pipes[0], NULL, pipes[1], NULL, 1, 0));
    MUST(lseek(in, 0, SEEK_END));
    R(splice(in, NULL, pipes[1], NULL, 1, 0));
    char buf[8];
    R(read(pipes[0], buf, sizeof buf));
    R(splice(pipes[0], NULL, out, NULL, 4, SPLICE_F_NONBLOCK));
    MUST(close(pipes[1]));
    R(splice(pipes[0], NULL, out, NULL, 4, 0));
}

CASE(desc_tee) {
    int a[2], b[2];
    MUST(pipe(a));
    MUST(pipe(b));
    MUST(write(a[1], "twice", 5));
    R(tee(a[0], b[1], 3, 0));
    R(tee(a[0], b[1], 100, 0));
    char buf[16] = {0};
    R(read(a[0], buf, sizeof buf));
    say("%s\n", buf);
    memset(buf, 0, sizeof buf);
    R(read(b[0], buf, sizeof buf));
    say("%s\n", buf);
    R(tee(a[0], a[1], 1, 0));
    R(tee(a[0], b[1], 1, SPLICE_F_NONBLOCK));
    R(tee(a[0], 1000, 1, 0));
    int f = file_with("f", "x");
    R(tee(f, b[1], 1, 0));
    struct iovec io[2] = {{"ab", 2}, {"cde", 3}};
    R(vmsplice(a[1], io, 2, 0));
    memset(buf, 0, sizeof buf);
    R(read(a[0], buf, sizeof buf));
    say("%s\n", buf);
    R(vmsplice(f, io, 2, 0));
    MUST(write(a[1], "back", 4));
    struct iovec in = {buf, 4};
    R(vmsplice(a[0], &in, 1, 0));
    say("%.4s\n", buf);
}

CASE(desc_splice_socket) {
    int in = file_with("in", "through a pipe"), pipes[2], pair[2];
    MUST(pipe(pipes));
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    R(splice(in, NULL, pipes[1], NULL, 100, 0));
    R(splice(pipes[0], NULL, pair[0], NULL, 100, 0));
    char buf[32] = {0};
    R(read(pair[1], buf, sizeof buf));
    say("%s\n", buf);
    MUST(write(pair[1], "back", 4));
    R(splice(pair[0], NULL, pipes[1], NULL, 100, 0));
    memset(buf, 0, sizeof buf);
    R(read(pipes[0], buf, sizeof buf));
    say("%s\n", buf);
}

CASE(desc_copy_range) {
    int in = file_with("in", "0123456789"), out = file_with("out", "abcdefghij");
    loff_t from = 2, to = 4;
    R(copy_file_range(in, &from, out, &to, 3, 0));
    say("%ld %ld\n", (long)from, (long)to);
    show(out);
    R(copy_file_range(in, NULL, out, NULL, 100, 0));
    show(out);
    R(copy_file_range(in, NULL, out, NULL, 100, 0));
    R(copy_file_range(in, NULL, out, NULL, 1, 1));
    from = 0;
    to = 1;
    R(copy_file_range(in, &from, in, &to, 4, 0));
    to = 5;
    R(copy_file_range(in, &from, in, &to, 4, 0));
    int pipes[2];
    MUST(pipe(pipes));
    R(copy_file_range(in, NULL, pipes[1], NULL, 1, 0));
    R(copy_file_range(MUST(open(".", O_RDONLY)), NULL, out, NULL, 1, 0));
    R(copy_file_range(MUST(open("in", O_WRONLY)), NULL, out, NULL, 1, 0));
    R(copy_file_range(in, NULL, MUST(open("out", O_RDONLY)), NULL, 1, 0));
    R(copy_file_range(in, NULL, MUST(open("out", O_WRONLY | O_APPEND)), NULL, 1, 0));
    from = -1;
    R(copy_file_range(in, &from, out, NULL, 1, 0));
}

CASE(desc_sendfile) {
    int in = file_with("in", "0123456789"), out = file_with("out", ""), pipes[2];
    MUST(pipe(pipes));
    off_t from = 3;
    R(sendfile(out, in, &from, 4));
    say("%ld\n", (long)from);
    R(sendfile(out, in, NULL, 100));
    show(out);
    R(sendfile(pipes[1], in, &from, 100));
    R(sendfile(out, pipes[0], NULL, 2));
    R(sendfile(out, in, &from, 10));
    from = -1;
    R(sendfile(out, in, &from, 10));
    R(sendfile(MUST(open("out", O_WRONLY | O_APPEND)), in, NULL, 1));
    R(sendfile(in, MUST(open("in", O_WRONLY)), NULL, 1));
    R(sendfile(MUST(open("in", O_RDONLY)), in, NULL, 1));
}

CASE(desc_close_range) {
    int a = MUST(dup(1)), b = MUST(dup(1)), c = MUST(dup(1));
    R(syscall(SYS_close_range, b, b, 0));
    R(fcntl(a, F_GETFD));
    R(fcntl(b, F_GETFD));
    R(syscall(SYS_close_range, a, ~0U, 4));
    R(fcntl(a, F_GETFD));
    R(fcntl(c, F_GETFD));
    R(syscall(SYS_close_range, c, a, 0));
    R(syscall(SYS_close_range, a, c, 1));
    R(syscall(SYS_close_range, a, c, 2));
    R(fcntl(a, F_GETFD));
    R(syscall(SYS_close_range, 100000, 200000, 0));
}

CASE(desc_duplicates) {
    R(dup3(1, 1, 0));
    R(dup3(1, 50, O_CLOEXEC));
    R(fcntl(50, F_GETFD));
    R(dup3(1, 50, O_NONBLOCK));
    R(dup3(99, 50, 0));
    R(dup2(99, 50));
    R(dup2(50, 50));
    R(dup2(1, -1));
    R(dup2(1, 1 << 30));
    R(fcntl(1, F_DUPFD_CLOEXEC, 60));
    R(fcntl(60, F_GETFD));
    R(fcntl(1, F_DUPFD, -1));
    R(fcntl(1, F_DUPFD, 60));
    R(fcntl(99, F_GETFD));
    R(fcntl(1, 9999));
    R(fcntl(50, F_SETFD, 0));
    R(fcntl(50, F_GETFD));
    R(ioctl(50, FIOCLEX));
    R(fcntl(50, F_GETFD));
    R(ioctl(50, FIONCLEX));
    R(fcntl(50, F_GETFD));
}

CASE(desc_status_flags) {
    int fd = MUST(open("f", O_CREAT | O_RDWR | O_APPEND | O_SYNC, 0600));
    R(fcntl(fd, F_GETFL) & ~0100000);
    R(fcntl(fd, F_SETFL, O_NONBLOCK));
    R(fcntl(fd, F_GETFL) & ~0100000);
    R(fcntl(fd, F_SETFL, O_WRONLY | O_TRUNC | O_CREAT));
    R(fcntl(fd, F_GETFL) & ~0100000);
    int again = MUST(dup(fd));
    R(fcntl(again, F_SETFL, O_APPEND));
    R(fcntl(fd, F_GETFL) & O_APPEND);
    int on = 1;
    R(ioctl(fd, FIONBIO, &on));
    R(fcntl(again, F_GETFL) & O_NONBLOCK);
    R(ioctl(fd, FIONBIO, (void *)8));
    R(ioctl(fd, 0x12345678, 0));
    R(ioctl(99, FIONBIO, &on));
    int unread;
    MUST(write(fd, "abc", 3));
    MUST(lseek(fd, 1, SEEK_SET));
    R(ioctl(fd, FIONREAD, &unread));
    say("%d\n", unread);
    R(fcntl(fd, F_GETOWN));
    R(fcntl(fd, F_GETSIG));
    R(fcntl(fd, F_GETLEASE));
}

CASE(desc_pipe_size) {
    int p[2];
    MUST(pipe(p));
    R(fcntl(p[0], F_GETPIPE_SZ));
    R(fcntl(p[1], F_SETPIPE_SZ, 5000));
    R(fcntl(p[0], F_GETPIPE_SZ));
    R(fcntl(p[0], F_SETPIPE_SZ, 0));
    R(fcntl(p[0], F_SETPIPE_SZ, 1 << 20));
    R(fcntl(p[0], F_SETPIPE_SZ, 4096));
    char page[4096] = {0};
    R(write(p[1], page, sizeof page));
    R(fcntl(p[0], F_SETPIPE_SZ, 8192));
    R(write(p[1], page, 1));
    R(fcntl(p[0], F_SETPIPE_SZ, 4096));
    R(fcntl(1000, F_SETPIPE_SZ, 4096));
    int fd = file_with("f", "");
    R(fcntl(fd, F_GETPIPE_SZ));
}

CASE(desc_pipe_packets) {
    int p[2];
    R(pipe2(p, O_DIRECT));
    MUST(write(p[1], "first", 5));
    MUST(write(p[1], "second", 6));
    char buf[16] = {0};
    R(read(p[0], buf, 3));
    R(read(p[0], buf, sizeof buf));
    say("%s\n", buf);
    R(fcntl(p[0], F_GETFL) & O_DIRECT ? 1 : 0);
    R(pipe2(p, O_APPEND));
    R(pipe2(p, O_CLOEXEC | O_NONBLOCK));
    R(fcntl(p[0], F_GETFD));
    R(fcntl(p[1], F_GETFL));
    R(pipe((int *)8));
}

static int no_attribute(long result) {
    return result == -1 && (errno == ENODATA || errno == EOPNOTSUPP);
}

CASE(desc_extended_attributes) {
    /* File systems differ in what they keep; what is not there fails everywhere alike. */
    int fd = file_with("f", "");
    char value[16];
    say("%d\n", no_attribute(getxattr("f", "user.none", value, sizeof value)));
    say("%d\n", no_attribute(lgetxattr("f", "user.none", value, sizeof value)));
    say("%d\n", no_attribute(fgetxattr(fd, "user.none", value, sizeof value)));
    say("%d\n", no_attribute(removexattr("f", "user.none")));
    say("%d\n", no_attribute(getxattr("f", "security.capability", value, sizeof value)));
    say("%d\n", no_attribute(getxattr("f", "system.posix_acl_access", value, sizeof value)));
    R(getxattr("f", "bad.name", value, sizeof value));
    R(setxattr("f", "bad.name", value, 1, 0));
    R(listxattr("f", value, sizeof value));
    R(llistxattr("f", value, sizeof value));
    R(flistxattr(fd, NULL, 0));
    R(getxattr("missing", "user.none", value, sizeof value));
    R(listxattr("missing", value, sizeof value));
    R(fgetxattr(99, "user.none", value, sizeof value));
    R(setxattr("f", "user.a", value, 1, 0x10));
    R(getxattr("f", "", value, sizeof value));
    R(getxattr("f", (void *)8, value, sizeof value));
}

CASE(desc_positions) {
    int fd = file_with("f", "0123456789");
    char a[4] = {0}, b[4] = {0};
    struct iovec io[2] = {{a, 3}, {b, 3}};
    R(preadv(fd, io, 2, 2));
    say("%s %s\n", a, b);
    R(preadv2(fd, io, 2, -1, 0));
    say("%s %s\n", a, b);
    R(lseek(fd, 0, SEEK_CUR));
    R(pwritev(fd, io, 2, 8));
    R(pwritev2(fd, io, 1, 0, RWF_APPEND));
    R(preadv2(fd, io, 2, 0, 0x1000));
    R(preadv2(fd, io, 2, 0, RWF_NOWAIT) > 0);
    R(pwritev2(fd, io, 1, 0, RWF_DSYNC));
    R(preadv(fd, io, 2, -5));
    R(pread(fd, a, 1, -1));
    R(pwrite(fd, a, 1, -1));
    R(preadv(fd, io, -1, 0));
    R(preadv(fd, io, 1025, 0));
    R(lseek(fd, -1, SEEK_SET));
    R(lseek(fd, 0, 99));
    R(lseek(fd, 1, SEEK_DATA));
    R(lseek(fd, 1, SEEK_HOLE));
    R(lseek(fd, 100, SEEK_DATA));
    show(fd);
}

CASE(desc_allocate) {
    int fd = file_with("f", "0123456789");
    struct stat st;
    R(fallocate(fd, 0, 0, 100));
    MUST(fstat(fd, &st));
    say("%ld\n", (long)st.st_size);
    R(fallocate(fd, 1, 0, 10000));
    MUST(fstat(fd, &st));
    say("%ld\n", (long)st.st_size);
    R(fallocate(fd, 3, 2, 3));
    char text[11] = {0};
    R(pread(fd, text, 10, 0));
    say("%d %d %d %d\n", text[1], text[2], text[4], text[5]);
    R(fallocate(fd, 2, 0, 1));
    R(fallocate(fd, 0, -1, 1));
    R(fallocate(fd, 0, 0, 0));
    R(fallocate(MUST(open("f", O_RDONLY)), 0, 0, 1));
    int pipes[2];
    MUST(pipe(pipes));
    R(fallocate(pipes[1], 0, 0, 1));
    R(posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED));
    R(posix_fadvise(fd, 0, 0, 99));
    R(posix_fadvise(pipes[0], 0, 0, 0));
    R(sync_file_range(fd, 0, 0, 7));
    R(sync_file_range(fd, 0, 0, 8));
    R(sync_file_range(fd, -1, 0, 0));
    R(sync_file_range(pipes[0], 0, 0, 0));
    R(readahead(fd, 0, 10));
    R(readahead(pipes[0], 0, 10));
    R(fdatasync(pipes[0]));
    R(syncfs(fd));
    R(syncfs(99));
}

CASE(desc_statfs) {
    struct statfs fs;
    R(statfs("/proc", &fs));
    say("proc %lx name %ld\n", (long)fs.f_type, (long)fs.f_namelen);
    R(statfs("/proc/self/status", &fs));
    say("proc %lx\n", (long)fs.f_type);
    R(statfs(".", &fs));
    say("%d %d\n", fs.f_bsize > 0, fs.f_bavail <= fs.f_blocks);
    R(statfs("missing", &fs));
    R(statfs(".", (void *)8));
    R(fstatfs(99, &fs));
    int pipes[2];
    MUST(pipe(pipes));
    R(fstatfs(pipes[0], &fs));
    say("pipe %lx\n", (long)fs.f_type);
    int s = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    R(fstatfs(s, &fs));
    say("socket %lx\n", (long)fs.f_type);
}

CASE(desc_statx_masks) {
    file_with("f", "abc");
    struct statx x;
    memset(&x, 0, sizeof x);
    R(statx(AT_FDCWD, "f", 0, STATX_BASIC_STATS, &x));
    say("mask %d size %ld mode %o links %d\n", (x.stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS, (long)x.stx_size,
        x.stx_mode, x.stx_nlink);
    R(statx(AT_FDCWD, "f", 0, 0, &x));
    say("mask %d\n", (x.stx_mask & STATX_TYPE) != 0);
    R(statx(AT_FDCWD, "f", 0, STATX_ALL, &x));
    R(statx(AT_FDCWD, "f", 0, 0x80000000U, &x));
    R(statx(AT_FDCWD, "f", AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC, 0, &x));
    R(statx(AT_FDCWD, "f", 0x10000, 0, &x));
    R(statx(AT_FDCWD, "", 0, 0, &x));
    R(statx(1, "", AT_EMPTY_PATH, STATX_TYPE, &x));
    R(statx(AT_FDCWD, "f", 0, 0, NULL));
    R(statx(AT_FDCWD, NULL, 0, 0, &x));
    R(symlink("nowhere", "l"));
    R(statx(AT_FDCWD, "l", 0, 0, &x));
    R(statx(AT_FDCWD, "l", AT_SYMLINK_NOFOLLOW, STATX_TYPE, &x));
    say("link %d\n", S_ISLNK(x.stx_mode));
    R(statx(AT_FDCWD, "/proc/self", AT_NO_AUTOMOUNT, STATX_TYPE, &x));
}

CASE(desc_legacy_listing) {
    file_with("a", "");
    char buf[1024];
    int fd = MUST(open(".", O_RDONLY | O_DIRECTORY));
    long n = syscall(SYS_getdents, fd, buf, sizeof buf);
    int entries = 0, found = 0;
    for (long at = 0; at < n;) {
        unsigned short length = *(unsigned short *)(buf + at + 16);
        const char *name = buf + at + 18;
        entries++;
        if (strcmp(name, "a") == 0)
            found = buf[at + length - 1] == 8;
        at += length;
    }
    say("%d entries, found %d\n", entries, found);
    R(syscall(SYS_getdents, fd, buf, sizeof buf));
    R(syscall(SYS_getdents, 1, buf, sizeof buf));
}
