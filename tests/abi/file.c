/* open(2), read(2), stat(2), and what directories do. */
#include "abi.h"

#include <dirent.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/time.h>

static int make(const char *name, const char *text) {
    int fd = MUST(open(name, O_RDWR | O_CREAT | O_TRUNC, 0644));
    MUST(write(fd, text, strlen(text)));
    return fd;
}

CASE(file_open_errors) {
    close(make("file", "text"));
    MUST(mkdir("dir", 0755));
    MUST(symlink("file", "link"));
    MUST(symlink("missing", "dangling"));
    MUST(symlink("loop", "loop"));
    R(open("missing", O_RDONLY));
    R(open("", O_RDONLY));
    R(open("missing/x", O_CREAT | O_WRONLY, 0600));
    R(open("file/x", O_RDONLY));
    R(open("file/", O_RDONLY));
    R(open("dir", O_WRONLY));
    R(open("dir", O_RDWR | O_CREAT, 0600));
    R(open("new/", O_RDWR | O_CREAT, 0600));
    R(open("file", O_RDONLY | O_DIRECTORY));
    R(open("file", O_RDWR | O_CREAT | O_EXCL, 0600));
    R(open("dangling", O_RDWR | O_CREAT | O_EXCL, 0600));
    R(open("dangling", O_RDONLY));
    R(open("loop", O_RDONLY));
    R(open("link", O_RDONLY | O_NOFOLLOW));
    R(open((char *)8, O_RDONLY));
    char name[5000];
    memset(name, 'n', sizeof name);
    name[256] = 0;
    R(open(name, O_RDONLY));
    name[256] = 'n';
    name[4096] = 0;
    R(open(name, O_RDONLY));
    R(openat(-1, "file", O_RDONLY));
    R(openat(0, "file", O_RDONLY));
    OK(openat(AT_FDCWD, "link", O_RDONLY));
    OK(open("dangling", O_RDWR | O_CREAT, 0600));
    OK(access("missing", F_OK));
    int dir = MUST(open("dir", O_RDONLY | O_DIRECTORY));
    char c;
    R(read(dir, &c, 1));
    R(write(dir, &c, 1));
    int path = MUST(open("file", O_PATH));
    R(read(path, &c, 1));
    R(fcntl(path, F_GETFL) & O_PATH);
}

CASE(file_read_write_seek) {
    int fd = make("file", "0123456789");
    char buf[32] = {0};
    R(lseek(fd, 3, SEEK_SET));
    R(read(fd, buf, 4));
    say("%s\n", buf);
    R(lseek(fd, -2, SEEK_CUR));
    R(lseek(fd, -1, SEEK_END));
    R(read(fd, buf, 4));
    R(read(fd, buf, 4));
    R(lseek(fd, -1, SEEK_SET));
    R(lseek(fd, 0, 99));
    R(lseek(-1, 0, SEEK_SET));
    R(lseek(fd, 20, SEEK_SET));
    R(write(fd, "end", 3));
    R(lseek(fd, 0, SEEK_END));
    memset(buf, 'x', sizeof buf);
    R(pread(fd, buf, 32, 8));
    say("%c%c %d %d %c\n", buf[0], buf[1], buf[2], buf[11], buf[12]);
    R(pread(fd, buf, 4, -1));
    R(pread(fd, buf, 4, 1000));
    R(pwrite(fd, "AB", 2, 1));
    R(pread(fd, buf, 4, 0));
    say("%.4s\n", buf);
    R(lseek(fd, 0, SEEK_CUR));
    int ro = MUST(open("file", O_RDONLY)), wo = MUST(open("file", O_WRONLY));
    R(write(ro, "x", 1));
    R(read(wo, buf, 1));
    R(read(ro, (char *)8, 1));
    R(write(wo, (char *)8, 1));
    R(read(ro, buf, 0));
}

CASE(file_append_and_truncate) {
    int fd = make("file", "start");
    int a = MUST(open("file", O_WRONLY | O_APPEND)), b = MUST(open("file", O_WRONLY | O_APPEND));
    R(write(a, "-a", 2));
    R(write(b, "-b", 2));
    R(lseek(a, 0, SEEK_SET));
    R(write(a, "-c", 2));
    R(lseek(a, 0, SEEK_CUR));
    char buf[32] = {0};
    R(pread(fd, buf, sizeof buf, 0));
    say("%s\n", buf);
    R(ftruncate(fd, 3));
    R(write(b, "!", 1));
    R(ftruncate(fd, 8));
    memset(buf, 'x', sizeof buf);
    R(pread(fd, buf, sizeof buf, 0));
    say("%.4s %d %d\n", buf, buf[4], buf[7]);
    R(ftruncate(fd, -1));
    R(truncate("missing", 0));
    R(truncate(".", 0));
    int ro = MUST(open("file", O_RDONLY));
    R(ftruncate(ro, 0));
    close(MUST(open("file", O_WRONLY | O_TRUNC)));
    struct stat st;
    MUST(fstat(fd, &st));
    say("size %ld\n", (long)st.st_size);
    R(fcntl(a, F_SETFL, 0));
    R(lseek(a, 0, SEEK_SET));
    R(write(a, "x", 1));
    R(fcntl(a, F_GETFL) & ~0100000);
}

CASE(file_descriptors) {
    int fd = make("file", "0123456789");
    char c;
    int copy = R(dup(fd));
    R(lseek(copy, 5, SEEK_SET));
    R(read(fd, &c, 1));
    say("%c\n", c);
    R(dup2(fd, 20));
    R(dup2(fd, fd));
    R(dup2(99, 99));
    R(dup3(fd, fd, 0));
    R(dup3(fd, 21, O_CLOEXEC));
    R(dup3(fd, 22, O_APPEND));
    R(fcntl(21, F_GETFD));
    R(fcntl(20, F_GETFD));
    R(fcntl(20, F_SETFD, FD_CLOEXEC));
    R(fcntl(20, F_GETFD));
    R(fcntl(fd, F_DUPFD, 20));
    R(fcntl(fd, F_DUPFD_CLOEXEC, 20));
    R(fcntl(fd, F_DUPFD, -1));
    R(fcntl(fd, 9999));
    R(close(copy));
    R(close(copy));
    R(dup(fd));
    R(syscall(SYS_close_range, 20, 23, 0));
    R(fcntl(21, F_GETFD));
    R(syscall(SYS_close_range, 5, 4, 0));
    R(close(-1));
    pid_t child = MUST(fork());
    if (child == 0) {
        lseek(fd, 8, SEEK_SET);
        _exit(0);
    }
    reap("child", child);
    R(read(fd, &c, 1));
    say("%c\n", c);
    int on = 1;
    R(ioctl(fd, FIONBIO, &on));
    R(fcntl(fd, F_GETFL) & O_NONBLOCK);
    R(ioctl(fd, FIOCLEX));
    R(fcntl(fd, F_GETFD));
    R(ioctl(fd, 0x5413, &on));
}

CASE(file_vectors) {
    int fd = make("file", "");
    struct iovec out[3] = {{"one", 3}, {"", 0}, {"two", 3}};
    R(writev(fd, out, 3));
    R(pwritev(fd, out, 3, 4));
    char a[4] = {0}, b[8] = {0};
    struct iovec in[2] = {{a, 3}, {b, 7}};
    R(preadv(fd, in, 2, 0));
    say("%s %s\n", a, b);
    R(lseek(fd, 2, SEEK_SET));
    R(readv(fd, in, 2));
    say("%s %s\n", a, b);
    R(preadv(fd, in, 2, -1));
    R(readv(fd, in, -1));
    R(readv(fd, 0, 0));
}

/* An int, a long, and more, that begin in one page and end in another: neither was touched before, or the second is not there. */
CASE(file_across_pages) {
    enum { PAGE = 4096 };
    static const size_t sizes[] = {4, 8, 12};
    int fd = make("file", "abcdefghijkl");
    for (size_t i = 0; i < 3; i++)
        for (size_t before = 0; before <= sizes[i]; before++) {
            char *pages = mmap(0, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            char *at = pages + PAGE - before;
            OK(pages == MAP_FAILED ? -1 : 0);
            R(pread(fd, at, sizes[i], 0));
            say("%.12s\n", at);
            int copy = make("copy", "");
            R(write(copy, at, sizes[i]));
            char back[16] = {0};
            R(pread(copy, back, sizeof back, 0));
            say("%s\n", back);
            MUST(close(copy));
            MUST(munmap(pages + PAGE, PAGE));
            OK(syscall(SYS_time, at));
            OK(syscall(SYS_pipe2, at, 0));
            int s = MUST(socket(AF_INET, SOCK_STREAM, 0));
            R(setsockopt(s, SOL_SOCKET, SO_LINGER, at, 8));
            R(getsockopt(s, SOL_SOCKET, SO_ERROR, back, (void *)at));
            R(getsockopt(s, SOL_SOCKET, SO_LINGER, at, &(socklen_t){8}));
            MUST(close(s));
        }
}

static void say_stat(const char *name, int follow) {
    struct stat st;
    int r = follow ? stat(name, &st) : lstat(name, &st);
    if (r == -1)
        say("%s: %s\n", name, strerrorname_np(errno));
    else
        say("%s: mode %o, links %lu, size %ld, blocks of 4096: %d\n", name, st.st_mode,
            S_ISDIR(st.st_mode) ? 0 : (unsigned long)st.st_nlink,
            S_ISDIR(st.st_mode) ? 0 : (long)st.st_size, st.st_blksize == 4096);
}

CASE(file_stat) {
    close(make("file", "twelve bytes"));
    MUST(mkdir("dir", 0751));
    MUST(symlink("file", "link"));
    MUST(link("file", "hard"));
    say_stat("file", 1);
    say_stat("dir", 1);
    say_stat("link", 1);
    say_stat("link", 0);
    say_stat("hard", 1);
    say_stat("missing", 1);
    say_stat("file/x", 1);
    say_stat("", 1);
    struct stat a, b;
    MUST(stat("file", &a));
    MUST(stat("hard", &b));
    say("same file: %d\n", a.st_ino == b.st_ino && a.st_dev == b.st_dev);
    R(fstatat(AT_FDCWD, "link", &a, AT_SYMLINK_NOFOLLOW));
    R(fstatat(AT_FDCWD, "link", &a, 0x40000000));
    int fd = MUST(open("file", O_RDONLY));
    R(fstatat(fd, "", &a, AT_EMPTY_PATH));
    say("size %ld\n", (long)a.st_size);
    R(syscall(SYS_stat, "file", (void *)8));
    R(syscall(SYS_fstat, -1, &a));
    struct statx x;
    R(statx(AT_FDCWD, "file", 0, STATX_BASIC_STATS, &x));
    say("statx: mode %o, size %lu, links %u\n", x.stx_mode, (unsigned long)x.stx_size, x.stx_nlink);
    MUST(chmod("file", 04711));
    say_stat("file", 1);
    MUST(chmod("link", 0600));
    say_stat("file", 1);
    R(chmod("missing", 0600));
    R(fchmod(fd, 0640));
    say_stat("file", 1);
    umask(077);
    close(MUST(open("masked", O_CREAT | O_WRONLY, 0666)));
    MUST(mkdir("masked-dir", 0777));
    say_stat("masked", 1);
    say_stat("masked-dir", 1);
    struct timespec t[2] = {{1000, 5}, {2000, 6}};
    R(utimensat(AT_FDCWD, "file", t, 0));
    MUST(stat("file", &a));
    say("times %ld.%ld %ld.%ld\n", (long)a.st_atim.tv_sec, a.st_atim.tv_nsec,
        (long)a.st_mtim.tv_sec, a.st_mtim.tv_nsec);
    t[0].tv_nsec = UTIME_OMIT;
    t[1].tv_nsec = 1000000000;
    R(utimensat(AT_FDCWD, "file", t, 0));
}

CASE(file_links_and_names) {
    close(make("a", "a"));
    close(make("b", "bb"));
    MUST(mkdir("dir", 0755));
    MUST(mkdir("dir/sub", 0755));
    R(link("a", "b"));
    R(link("dir", "hard"));
    R(link("missing", "hard"));
    R(symlink("a", "b"));
    R(symlink("", "empty"));
    R(rename("a", "b"));
    say_stat("a", 1);
    say_stat("b", 1);
    R(rename("b", "b"));
    R(rename("missing", "b"));
    R(rename("b", "dir"));
    R(rename("dir", "b"));
    R(rename("dir", "dir/sub/x"));
    R(rename("dir/sub", "top"));
    R(rename("top", "dir"));
    R(renameat2(AT_FDCWD, "b", AT_FDCWD, "dir", RENAME_NOREPLACE));
    close(make("c", "ccc"));
    R(renameat2(AT_FDCWD, "b", AT_FDCWD, "c", RENAME_EXCHANGE));
    say_stat("c", 1);
    R(unlink("missing"));
    R(unlink("dir"));
    R(rmdir("b"));
    R(mkdir("dir", 0755));
    R(mkdir("missing/x", 0755));
    close(make("dir/file", ""));
    R(rmdir("dir"));
    R(unlink("dir/file"));
    R(rmdir("dir/."));
    R(rmdir("dir"));
    R(rmdir("."));
    R(unlinkat(AT_FDCWD, "b", AT_REMOVEDIR));
    R(unlink("b/"));
    char target[8] = {0};
    MUST(symlink("target-name", "link"));
    R(readlink("link", target, sizeof target - 1));
    say("%s\n", target);
    R(readlink("b", target, sizeof target));
    R(readlink("link", target, 0));
}

CASE(file_unlinked_stays_open) {
    int fd = make("file", "still here");
    R(unlink("file"));
    char buf[16] = {0};
    R(pread(fd, buf, sizeof buf, 0));
    struct stat st;
    MUST(fstat(fd, &st));
    say("%s, links %lu\n", buf, (unsigned long)st.st_nlink);
    R(open("file", O_RDONLY));
    close(make("file", "another"));
    R(pread(fd, buf, sizeof buf, 0));
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list(const char *path) {
    char *names[300];
    int count = 0;
    DIR *d = opendir(path);
    if (!d) {
        say("%s: %s\n", path, strerrorname_np(errno));
        return;
    }
    struct dirent *e;
    while ((e = readdir(d)) && count < 300) {
        char text[300];
        snprintf(text, sizeof text, "%s:%d", e->d_name, e->d_type);
        names[count++] = strdup(text);
    }
    closedir(d);
    qsort(names, count, sizeof *names, by_name);
    say("%s: %d entries:", path, count);
    for (int i = 0; i < count && i < 12; i++)
        say(" %s", names[i]);
    say("\n");
}

CASE(file_directories) {
    MUST(mkdir("d", 0755));
    list("d");
    close(make("d/file", ""));
    MUST(mkdir("d/dir", 0755));
    MUST(symlink("x", "d/link"));
    list("d");
    list("missing");
    list("d/file");
    for (int i = 0; i < 200; i++) {
        char name[32];
        snprintf(name, sizeof name, "d/%03d", i);
        close(make(name, ""));
    }
    list("d");
    /* Removing while reading. */
    DIR *d = opendir("d");
    struct dirent *e;
    int removed = 0;
    while ((e = readdir(d)))
        removed += e->d_type == DT_REG && unlinkat(dirfd(d), e->d_name, 0) == 0;
    closedir(d);
    say("removed %d\n", removed);
    list("d");
    char small[10];
    int fd = MUST(open("d", O_RDONLY));
    R(syscall(SYS_getdents64, fd, small, sizeof small));
    R(syscall(SYS_getdents64, 0, small, sizeof small));
    R(chdir("d/dir"));
    char cwd[256];
    MUST(getcwd(cwd, sizeof cwd) ? 0 : -1);
    say("%s\n", strstr(cwd, "/d/dir"));
    R(chdir("../file"));
    R(chdir("missing"));
    R(chdir(".."));
    R(fchdir(fd));
    R(syscall(SYS_getcwd, cwd, 2));
    MUST(chdir("dir"));
    MUST(rmdir("../dir"));
    R(syscall(SYS_getcwd, cwd, sizeof cwd));
    R(open("x", O_CREAT | O_WRONLY, 0600));
}

CASE(file_sparse) {
    int fd = make("file", "");
    R(ftruncate(fd, 1 << 30));
    R(pwrite(fd, "x", 1, (1 << 20) + 5));
    char buf[3] = "zz";
    R(pread(fd, buf, 2, (1 << 20) + 4));
    say("%d %c\n", buf[0], buf[1]);
    R(lseek(fd, 0, SEEK_DATA));
    R(lseek(fd, 1 << 20, SEEK_HOLE));
    R(lseek(fd, 2 << 20, SEEK_DATA));
    R(lseek(fd, 1 << 30, SEEK_HOLE));
    struct stat st;
    MUST(fstat(fd, &st));
    say("few blocks: %d\n", st.st_blocks <= 16);
    R(posix_fallocate(fd, 0, 4096));
    R(fsync(fd));
    R(fdatasync(fd));
}

CASE(file_devices) {
    char buf[16];
    memset(buf, 'x', sizeof buf);
    int null = MUST(open("/dev/null", O_RDWR)), zero = MUST(open("/dev/zero", O_RDWR));
    int full = MUST(open("/dev/full", O_RDWR)), random = MUST(open("/dev/urandom", O_RDONLY));
    R(read(null, buf, 16));
    R(write(null, buf, 16));
    R(read(zero, buf, 16));
    say("%d %d\n", buf[0], buf[15]);
    R(write(zero, buf, 16));
    R(read(full, buf, 16));
    R(write(full, buf, 16));
    R(read(random, buf, 16));
    R(ioctl(null, 0x5401, buf));
    R(isatty(null));
    struct stat st;
    MUST(fstat(null, &st));
    say("mode %o, number %lx\n", st.st_mode, (unsigned long)st.st_rdev);
    struct iovec v[2] = {{buf, 8}, {buf + 8, 8}};
    R(readv(zero, v, 2));
    R(writev(null, v, 2));
    R(lseek(null, 5, SEEK_SET));
    char *m = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, zero, 0);
    say("mapped zeros: %d\n", m[100]);
}

CASE(file_proc) {
    char path[64], target[256] = {0}, text[4096];
    int fd = make("file", "");
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    MUST(readlink(path, target, sizeof target - 1));
    say("%s\n", strrchr(target, '/'));
    snprintf(path, sizeof path, "/proc/%d/fd/%d", getpid(), fd);
    OK(open(path, O_RDONLY));
    MUST(readlink("/proc/self/cwd", target, sizeof target - 1));
    say("same directory: %d\n", strstr(target, "tyn-abi") != 0);
    int f = MUST(open("/proc/self/comm", O_RDONLY));
    memset(text, 0, sizeof text);
    MUST(read(f, text, sizeof text - 1));
    say("comm %s", text);
    f = MUST(open("/proc/self/cmdline", O_RDONLY));
    OK(read(f, text, sizeof text));
    R(lseek(f, 0, SEEK_SET));
    f = MUST(open("/proc/meminfo", O_RDONLY));
    memset(text, 0, sizeof text);
    MUST(read(f, text, sizeof text - 1));
    say("meminfo: %d\n", strncmp(text, "MemTotal:", 9) == 0);
    R(open("/proc/self/missing", O_RDONLY));
    R(open("/proc/9999999", O_RDONLY));
    R(access("/proc/self/exe", X_OK));
    R(unlink("/proc/self/comm"));
}

CASE(file_sendfile) {
    int in = make("in", "0123456789"), out = make("out", "");
    off_t at = 2;
    R(sendfile(out, in, &at, 5));
    say("offset %ld\n", (long)at);
    R(lseek(in, 8, SEEK_SET));
    R(sendfile(out, in, 0, 100));
    R(sendfile(out, in, 0, 100));
    char buf[16] = {0};
    R(pread(out, buf, sizeof buf, 0));
    say("%s\n", buf);
    int p[2];
    MUST(pipe(p));
    at = 0;
    R(sendfile(p[1], in, &at, 4));
    R(read(p[0], buf, 16));
    R(sendfile(out, p[0], 0, 4));
    R(sendfile(out, -1, 0, 4));
}
