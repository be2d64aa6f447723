/* Attributes: chmod(2), chown(2), utimensat(2), statx(2), truncate(2), fallocate(2), umask(2). */
#include "abi.h"

#include <sys/statfs.h>
#include <sys/time.h>
#include <utime.h>

static void make(const char *name, const char *text) {
    int fd = MUST(open(name, O_RDWR | O_CREAT | O_TRUNC, 0644));
    MUST(write(fd, text, strlen(text)));
    close(fd);
}

static void mode_of(const char *name) {
    struct stat st;
    MUST(lstat(name, &st));
    say("%s: %o %d:%d\n", name, st.st_mode, st.st_uid, st.st_gid);
}

CASE(attr_mode) {
    make("f", "x");
    MUST(mkdir("d", 0755));
    MUST(symlink("f", "l"));
    R(chmod("f", 0));
    mode_of("f");
    R(chmod("l", 04755));
    mode_of("f");
    R(chmod("d", 01777));
    mode_of("d");
    R(chmod("f", 0177777));
    mode_of("f");
    R(chmod("missing", 0));
    int fd = MUST(open("f", O_RDONLY));
    R(fchmod(fd, 0600));
    mode_of("f");
    R(fchmod(99, 0600));
    R(fchmodat(AT_FDCWD, "l", 0640, 0));
    mode_of("f");
    R(syscall(452, AT_FDCWD, "l", 0600, AT_SYMLINK_NOFOLLOW));
    R(syscall(452, AT_FDCWD, "f", 0604, AT_SYMLINK_NOFOLLOW));
    R(syscall(452, fd, "", 0605, AT_EMPTY_PATH));
    mode_of("f");
}

CASE(attr_umask) {
    R(umask(077));
    make("f", "x");
    mode_of("f");
    MUST(mkdir("d", 0777));
    mode_of("d");
    MUST(symlink("f", "l"));
    mode_of("l");
    R(umask(07777));
    R(umask(022));
    R(umask(022));
}

CASE(attr_owner) {
    make("f", "x");
    MUST(symlink("f", "l"));
    R(chown("f", 1, 2));
    mode_of("f");
    R(chown("l", -1, 5));
    mode_of("f");
    R(lchown("l", 7, 7));
    mode_of("l");
    mode_of("f");
    MUST(chmod("f", 06755));
    R(chown("f", -1, -1));
    mode_of("f");
    MUST(chmod("f", 06745));
    R(chown("f", 0, 0));
    mode_of("f");
    R(fchownat(AT_FDCWD, "f", 0, 0, 1));
    R(chown("missing", 0, 0));
    MUST(mkdir("d", 0755));
    MUST(chown("d", 0, 9));
    MUST(chmod("d", 02755));
    make("d/in", "x");
    mode_of("d/in");
    MUST(mkdir("d/sub", 0755));
    mode_of("d/sub");
}

static void times_of(const char *name) {
    struct stat st;
    MUST(lstat(name, &st));
    say("%s: a %ld.%09ld m %ld.%09ld\n", name, (long)st.st_atim.tv_sec, st.st_atim.tv_nsec,
        (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

CASE(attr_times) {
    make("f", "x");
    MUST(symlink("f", "l"));
    struct timespec both[2] = {{1000, 5}, {2000, 999999999}};
    R(utimensat(AT_FDCWD, "f", both, 0));
    times_of("f");
    struct timespec one[2] = {{0, UTIME_OMIT}, {3000, 0}};
    R(utimensat(AT_FDCWD, "l", one, 0));
    times_of("f");
    R(utimensat(AT_FDCWD, "l", both, AT_SYMLINK_NOFOLLOW));
    times_of("l");
    times_of("f");
    struct timespec none[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
    R(utimensat(AT_FDCWD, "f", none, 0));
    struct timespec bad[2] = {{0, 1000000000}, {0, 0}};
    R(utimensat(AT_FDCWD, "f", bad, 0));
    R(utimensat(AT_FDCWD, "missing", both, 0));
    R(utimensat(AT_FDCWD, "f", both, 1));
    int fd = MUST(open("f", O_RDWR));
    struct timespec early[2] = {{-5, 0}, {4000, 1}};
    R(futimens(fd, early));
    times_of("f");
    struct timeval tv[2] = {{10, 20}, {30, 40}};
    R(utimes("f", tv));
    times_of("f");
    struct utimbuf ut = {50, 60};
    R(utime("f", &ut));
    times_of("f");
    /* Writing sets the modification time, reading a size does not. */
    time_t before = time(0);
    MUST(write(fd, "y", 1));
    struct stat st;
    MUST(fstat(fd, &st));
    say("written: %d\n", st.st_mtime >= before - 1 && st.st_ctime >= before - 1);
    MUST(utimensat(AT_FDCWD, "f", one, 0));
    times_of("f");
    MUST(ftruncate(fd, 100));
    MUST(fstat(fd, &st));
    say("truncated: %d\n", st.st_mtime >= before - 1);
    R(utimensat(AT_FDCWD, "f", 0, 0));
    MUST(fstat(fd, &st));
    say("now: %d\n", st.st_mtime >= before - 1);
}

CASE(attr_statx) {
    make("f", "twelve bytes");
    MUST(symlink("f", "l"));
    struct statx sx;
    R(statx(AT_FDCWD, "f", 0, STATX_BASIC_STATS | STATX_BTIME, &sx));
    say("%o %d %d, mask has basic: %d\n", sx.stx_mode, (int)sx.stx_size, sx.stx_nlink,
        (sx.stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS);
    struct stat st;
    MUST(stat("f", &st));
    say("same inode %d, same time %d\n", st.st_ino == sx.stx_ino,
        st.st_mtime == sx.stx_mtime.tv_sec);
    R(statx(AT_FDCWD, "l", AT_SYMLINK_NOFOLLOW, STATX_TYPE, &sx));
    say("%o\n", sx.stx_mode & S_IFMT);
    int fd = MUST(open("f", O_RDONLY));
    R(statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &sx));
    R(statx(fd, "", 0, STATX_SIZE, &sx));
    R(statx(AT_FDCWD, "missing", 0, STATX_SIZE, &sx));
    R(statx(AT_FDCWD, "f", 0x6000, STATX_SIZE, &sx));
    R(statx(AT_FDCWD, "f", 1, STATX_SIZE, &sx));
    R(statx(AT_FDCWD, "f", 0, 0x80000000, &sx));
    R(statx(AT_FDCWD, "/dev/null", 0, STATX_SIZE, &sx));
    say("%d:%d\n", sx.stx_rdev_major, sx.stx_rdev_minor);
}

CASE(attr_sizes) {
    make("f", "0123456789");
    int fd = MUST(open("f", O_RDWR));
    struct stat st;
    R(posix_fallocate(fd, 0, 20000));
    MUST(fstat(fd, &st));
    say("size %d, has blocks: %d\n", (int)st.st_size, st.st_blocks >= 20000 / 512);
    R(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 50000));
    MUST(fstat(fd, &st));
    say("size %d\n", (int)st.st_size);
    R(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2, 5));
    char buf[16] = {0};
    R(pread(fd, buf, 10, 0));
    say("%d%d%d %c%c%c %c\n", buf[2], buf[4], buf[6], buf[0], buf[1], buf[7], buf[9]);
    R(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, 5));
    R(fallocate(fd, 0, -1, 5));
    R(fallocate(fd, 0, 0, 0));
    R(fallocate(fd, 0, 0, -5));
    int ro = MUST(open("f", O_RDONLY));
    R(fallocate(ro, 0, 0, 5));
    R(fallocate(99, 0, 0, 5));
    int p[2];
    MUST(pipe(p));
    R(fallocate(p[1], 0, 0, 5));
    R(posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL));
    R(posix_fadvise(fd, 0, 0, 99));
    R(posix_fadvise(p[0], 0, 0, POSIX_FADV_NORMAL));
    R(posix_fadvise(99, 0, 0, POSIX_FADV_NORMAL));
    R(fsync(fd));
    R(fdatasync(fd));
    R(fsync(p[0]));
    R(fsync(99));
    R(syncfs(fd));
    R(truncate("f", 5));
    R(truncate("f/", 5));
    R(readahead(fd, 0, 100));
    R(readahead(p[0], 0, 100));
    R(ftruncate(p[1], 0));
}

CASE(attr_statfs) {
    struct statfs fs;
    R(statfs("/proc", &fs));
    say("%lx %ld\n", (long)fs.f_type, (long)fs.f_namelen);
    R(statfs("/sys", &fs));
    say("%lx\n", (long)fs.f_type);
    R(statfs(".", &fs));
    say("space: %d\n", fs.f_blocks > 0 && fs.f_bfree <= fs.f_blocks && fs.f_bsize > 0);
    int p[2];
    MUST(pipe(p));
    R(fstatfs(p[0], &fs));
    say("%lx\n", (long)fs.f_type);
    R(statfs("missing", &fs));
    R(fstatfs(99, &fs));
}
