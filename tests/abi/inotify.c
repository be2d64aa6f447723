/* Watching files: inotify(7), inotify_init(2), inotify_add_watch(2), inotify_rm_watch(2). */
#include "abi.h"

#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/un.h>

#ifndef IN_MASK_CREATE
#define IN_MASK_CREATE 0x10000000
#endif

static const struct {
    uint32_t bit;
    const char *name;
} names[] = {
    {IN_ACCESS, "ACCESS"},
    {IN_MODIFY, "MODIFY"},
    {IN_ATTRIB, "ATTRIB"},
    {IN_CLOSE_WRITE, "CLOSE_WRITE"},
    {IN_CLOSE_NOWRITE, "CLOSE_NOWRITE"},
    {IN_OPEN, "OPEN"},
    {IN_MOVED_FROM, "MOVED_FROM"},
    {IN_MOVED_TO, "MOVED_TO"},
    {IN_CREATE, "CREATE"},
    {IN_DELETE, "DELETE"},
    {IN_DELETE_SELF, "DELETE_SELF"},
    {IN_MOVE_SELF, "MOVE_SELF"},
    {IN_Q_OVERFLOW, "Q_OVERFLOW"},
    {IN_IGNORED, "IGNORED"},
    {IN_ISDIR, "ISDIR"},
};

/* Writes and takes all events that wait; cookies by whether they are the same as the one before. */
static void show(const char *after, int fd) {
    static uint32_t last_cookie;
    _Alignas(struct inotify_event) char buf[8192];
    int unread = 0;
    MUST(ioctl(fd, FIONREAD, &unread));
    long n = read(fd, buf, sizeof buf);
    if (n < 0) {
        say("%s: %s, %d unread\n", after, strerrorname_np(errno), unread);
        return;
    }
    say("%s: %ld of %d bytes\n", after, n, unread);
    for (long at = 0; at < n;) {
        struct inotify_event *e = (void *)(buf + at);
        char what[256] = "";
        uint32_t left = e->mask;
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (left & names[i].bit) {
                strcat(what, " ");
                strcat(what, names[i].name);
                left &= ~names[i].bit;
            }
        const char *cookie = e->cookie == 0 ? "" : e->cookie == last_cookie ? " same cookie" : " cookie";
        last_cookie = e->cookie;
        say("  %d:%s rest %x%s, %u for '%s'\n", e->wd, what, left, cookie, e->len, e->len ? e->name : "");
        at += sizeof *e + e->len;
    }
}

static int instance(void) {
    return MUST(inotify_init1(IN_NONBLOCK));
}

static void make(const char *name) {
    int fd = MUST(open(name, O_WRONLY | O_CREAT | O_EXCL, 0644));
    MUST(write(fd, "text", 4));
    MUST(close(fd));
}

CASE(inotify_arguments) {
    R(inotify_init1(1));
    int fd = instance();
    make("f");
    MUST(mkdir("d", 0755));
    MUST(symlink("f", "l"));
    MUST(symlink("none", "n"));
    R(inotify_add_watch(fd, "f", 0));
    R(inotify_add_watch(fd, "f", 0x00100000));
    R(inotify_add_watch(fd, "f", IN_MASK_ADD | IN_MASK_CREATE | IN_OPEN));
    R(inotify_add_watch(fd, "none", IN_OPEN));
    R(inotify_add_watch(fd, "", IN_OPEN));
    R(inotify_add_watch(fd, (char *)8, IN_OPEN));
    R(inotify_add_watch(fd, "f", IN_OPEN | IN_ONLYDIR));
    R(inotify_add_watch(fd, "f/", IN_OPEN));
    R(inotify_add_watch(fd, "n", IN_OPEN));
    R(inotify_add_watch(fd, "n", IN_OPEN | IN_DONT_FOLLOW));
    R(inotify_add_watch(fd, "d", IN_OPEN | IN_ONLYDIR));
    R(inotify_add_watch(fd, "l", IN_OPEN));
    R(inotify_add_watch(fd, "f", IN_OPEN | IN_MASK_CREATE));
    R(inotify_add_watch(fd, "f", IN_MODIFY));
    R(inotify_add_watch(fd, "l", IN_OPEN | IN_DONT_FOLLOW));
    R(inotify_add_watch(99, "f", IN_OPEN));
    R(inotify_add_watch(99, "f", 0));
    R(inotify_add_watch(1, "f", IN_OPEN));
    int path = MUST(open("f", O_PATH));
    R(inotify_add_watch(path, "f", IN_OPEN));
    R(inotify_rm_watch(path, 1));
    R(inotify_rm_watch(99, 1));
    R(inotify_rm_watch(1, 1));
    R(inotify_rm_watch(fd, 99));
    R(inotify_rm_watch(fd, -1));
    R(inotify_rm_watch(fd, 2));
    R(inotify_rm_watch(fd, 2));
    show("removed", fd);
}

CASE(inotify_descriptor) {
    int fd = instance();
    char buf[64], link[64] = "";
    snprintf(buf, sizeof buf, "/proc/self/fd/%d", fd);
    R(readlink(buf, link, sizeof link - 1));
    say("%s\n", link);
    R(fcntl(fd, F_GETFL));
    R(fcntl(fd, F_GETFD));
    R(lseek(fd, 5, SEEK_SET));
    R(write(fd, "x", 1));
    R(read(fd, buf, sizeof buf));
    struct stat st;
    R(fstat(fd, &st));
    say("mode %o\n", st.st_mode);
    say_events("nothing", poll_now(fd));
    MUST(inotify_add_watch(fd, ".", IN_CREATE));
    MUST(mkdir("d", 0755));
    say_events("something", poll_now(fd));
    R(read(fd, buf, 0));
    R(read(fd, buf, 31));
    R(read(fd, (void *)8, 64));
    show("after a fault", fd);
    R(inotify_init1(IN_CLOEXEC));
    R(fcntl(fd + 1, F_GETFD));
    R(ioctl(fd, 0x5401, buf));
}

CASE(inotify_file) {
    int fd = instance();
    make("f");
    MUST(inotify_add_watch(fd, "f", IN_ALL_EVENTS));
    int file = MUST(open("f", O_RDWR));
    show("open", fd);
    char buf[8];
    MUST(read(file, buf, 2));
    show("read", fd);
    MUST(read(file, buf, 0));
    show("read of nothing", fd);
    MUST(pread(file, buf, 2, 100));
    show("read behind the end", fd);
    MUST(write(file, "more", 4));
    MUST(pwrite(file, "more", 4, 10));
    show("writes", fd);
    MUST(write(file, "", 0));
    show("write of nothing", fd);
    MUST(ftruncate(file, 3));
    show("ftruncate", fd);
    MUST(ftruncate(file, 3));
    show("ftruncate to the same", fd);
    MUST(posix_fallocate(file, 0, 100));
    show("fallocate", fd);
    MUST(fchmod(file, 0600));
    show("fchmod", fd);
    MUST(fsync(file));
    show("fsync", fd);
    int second = MUST(dup(file));
    MUST(close(second));
    show("close of a duplicate", fd);
    MUST(close(file));
    show("close", fd);
    MUST(close(MUST(open("f", O_RDONLY))));
    show("for reading", fd);
    MUST(close(MUST(open("f", O_PATH))));
    show("for nothing", fd);
    MUST(close(MUST(open("f", O_WRONLY | O_TRUNC))));
    show("truncated", fd);
}

CASE(inotify_directory) {
    int fd = instance();
    MUST(inotify_add_watch(fd, ".", IN_ALL_EVENTS));
    make("file");
    show("made", fd);
    MUST(mkdir("dir", 0755));
    show("mkdir", fd);
    MUST(symlink("file", "symbolic"));
    show("symlink", fd);
    MUST(mknod("fifo", S_IFIFO | 0600, 0));
    show("mknod", fd);
    MUST(link("file", "hard"));
    show("link", fd);
    struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "socket"};
    MUST(bind(MUST(socket(AF_UNIX, SOCK_STREAM, 0)), (void *)&a, sizeof a));
    show("bind", fd);
    MUST(close(MUST(open("dir", O_RDONLY | O_DIRECTORY))));
    show("open of a directory", fd);
    MUST(close(MUST(open("symbolic", O_RDONLY))));
    show("open through a link", fd);
    MUST(chmod("file", 0600));
    MUST(chmod("symbolic", 0644));
    MUST(chmod("dir", 0700));
    show("chmod", fd);
    MUST(truncate("symbolic", 1));
    show("truncate", fd);
    MUST(unlink("symbolic"));
    MUST(unlink("file"));
    MUST(unlink("hard"));
    show("unlink", fd);
    MUST(rmdir("dir"));
    show("rmdir", fd);
    /* What fails tells nothing. */
    R(mkdir("fifo", 0755));
    R(unlink("none"));
    R(open("none", O_RDONLY));
    R(rename("none", "other"));
    show("failures", fd);
}

CASE(inotify_directory_itself) {
    int fd = instance();
    MUST(mkdir("d", 0755));
    MUST(inotify_add_watch(fd, "d", IN_ALL_EVENTS));
    int dir = MUST(open("d", O_RDONLY | O_DIRECTORY));
    show("open", fd);
    char buf[1024];
    MUST(syscall(SYS_getdents64, dir, buf, sizeof buf));
    MUST(syscall(SYS_getdents64, dir, buf, sizeof buf));
    show("listed", fd);
    MUST(close(dir));
    show("close", fd);
    MUST(chmod("d", 0700));
    show("chmod", fd);
    MUST(rename("d", "e"));
    show("renamed", fd);
    MUST(mkdir("e/sub", 0755));
    show("an entry under its new name", fd);
    MUST(rmdir("e/sub"));
    MUST(rmdir("e"));
    show("rmdir", fd);
}

CASE(inotify_rename) {
    int fd = instance();
    MUST(mkdir("a", 0755));
    MUST(mkdir("b", 0755));
    make("a/f");
    make("a/g");
    MUST(inotify_add_watch(fd, "a", IN_ALL_EVENTS));
    MUST(inotify_add_watch(fd, "b", IN_ALL_EVENTS));
    MUST(inotify_add_watch(fd, "a/f", IN_ALL_EVENTS));
    MUST(inotify_add_watch(fd, "a/g", IN_ALL_EVENTS));
    MUST(rename("a/f", "a/h"));
    show("within", fd);
    MUST(rename("a/h", "b/h"));
    show("across", fd);
    MUST(rename("b/h", "a/g"));
    show("over another", fd);
    MUST(link("a/g", "a/same"));
    show("link", fd);
    MUST(rename("a/g", "a/same"));
    show("over the same file", fd);
    MUST(mkdir("a/d", 0755));
    MUST(rename("a/d", "b/d"));
    show("directory", fd);
    MUST(syscall(SYS_renameat2, AT_FDCWD, "a/g", AT_FDCWD, "b/d", 2));
    show("exchanged", fd);
}

CASE(inotify_end_of_a_file) {
    int fd = instance();
    make("f");
    MUST(link("f", "g"));
    MUST(inotify_add_watch(fd, "f", IN_ALL_EVENTS));
    MUST(inotify_add_watch(fd, ".", IN_DELETE));
    MUST(unlink("g"));
    show("one of two names", fd);
    int file = MUST(open("f", O_RDONLY));
    MUST(unlink("f"));
    show("the last name, open", fd);
    MUST(close(file));
    show("closed", fd);
    R(inotify_rm_watch(fd, 1));
    make("h");
    R(inotify_add_watch(fd, "h", IN_ATTRIB | IN_DELETE_SELF));
    MUST(unlink("h"));
    show("unlink", fd);
    make("i");
    make("j");
    R(inotify_add_watch(fd, "j", IN_ATTRIB | IN_DELETE_SELF));
    MUST(rename("i", "j"));
    show("replaced", fd);
}

CASE(inotify_unlinked_entries) {
    int fd = instance(), all = instance();
    make("f");
    MUST(inotify_add_watch(fd, ".", IN_ALL_EVENTS | IN_EXCL_UNLINK));
    MUST(inotify_add_watch(all, ".", IN_ALL_EVENTS));
    int file = MUST(open("f", O_RDWR));
    MUST(unlink("f"));
    MUST(write(file, "x", 1));
    MUST(close(file));
    show("without", fd);
    show("with", all);
}

CASE(inotify_renamed_open_file) {
    int fd = instance();
    MUST(mkdir("a", 0755));
    MUST(mkdir("b", 0755));
    make("a/f");
    int file = MUST(open("a/f", O_RDWR));
    MUST(inotify_add_watch(fd, "a", IN_MODIFY | IN_CLOSE));
    MUST(inotify_add_watch(fd, "b", IN_MODIFY | IN_CLOSE));
    MUST(rename("a/f", "a/g"));
    MUST(write(file, "x", 1));
    show("within", fd);
    MUST(rename("a/g", "b/h"));
    MUST(write(file, "x", 1));
    show("across", fd);
    MUST(unlink("b/h"));
    MUST(close(file));
    show("unlinked", fd);
}

CASE(inotify_masks) {
    int fd = instance();
    make("f");
    R(inotify_add_watch(fd, "f", IN_OPEN));
    R(inotify_add_watch(fd, "f", IN_CLOSE_NOWRITE));
    MUST(close(MUST(open("f", O_RDONLY))));
    show("replaced", fd);
    R(inotify_add_watch(fd, "f", IN_OPEN | IN_MASK_ADD));
    MUST(close(MUST(open("f", O_RDONLY))));
    show("added", fd);
    R(inotify_add_watch(fd, "f", IN_OPEN | IN_ONESHOT));
    MUST(close(MUST(open("f", O_RDONLY))));
    show("once", fd);
    R(inotify_add_watch(fd, "f", IN_OPEN));
    R(inotify_rm_watch(fd, 2));
    R(inotify_add_watch(fd, "f", IN_OPEN));
    show("again", fd);
}

CASE(inotify_repeats) {
    int fd = instance();
    make("f");
    make("g");
    MUST(inotify_add_watch(fd, ".", IN_MODIFY));
    int f = MUST(open("f", O_WRONLY)), g = MUST(open("g", O_WRONLY));
    for (int i = 0; i < 3; i++)
        MUST(write(f, "x", 1));
    MUST(write(g, "x", 1));
    MUST(write(f, "x", 1));
    show("writes", fd);
}

CASE(inotify_copies) {
    int fd = instance();
    make("f");
    make("g");
    MUST(inotify_add_watch(fd, "f", IN_ACCESS | IN_MODIFY));
    MUST(inotify_add_watch(fd, "g", IN_ACCESS | IN_MODIFY));
    int f = MUST(open("f", O_RDONLY)), g = MUST(open("g", O_WRONLY));
    MUST(sendfile(g, f, NULL, 4));
    show("sendfile", fd);
    MUST(sendfile(g, f, NULL, 4));
    show("sendfile at the end", fd);
    loff_t from = 0, to = 0;
    MUST(copy_file_range(f, &from, g, &to, 4, 0));
    show("copy_file_range", fd);
    int p[2];
    MUST(pipe(p));
    from = 0;
    MUST(splice(f, &from, p[1], NULL, 4, 0));
    show("splice from", fd);
    MUST(splice(p[0], NULL, g, NULL, 4, 0));
    show("splice to", fd);
    char *page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, f, 0);
    say("%c\n", page[0]);
    show("mapping", fd);
}

CASE(inotify_times_and_owners) {
    int fd = instance();
    make("f");
    MUST(inotify_add_watch(fd, "f", IN_ALL_EVENTS));
    struct timespec now[2] = {{1, 0}, {2, 0}}, a[2] = {{1, 0}, {0, UTIME_OMIT}}, m[2] = {{0, UTIME_OMIT}, {1, 0}};
    struct timespec none[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
    MUST(utimensat(AT_FDCWD, "f", now, 0));
    show("both", fd);
    MUST(utimensat(AT_FDCWD, "f", a, 0));
    show("access", fd);
    MUST(utimensat(AT_FDCWD, "f", m, 0));
    show("modification", fd);
    MUST(utimensat(AT_FDCWD, "f", none, 0));
    show("neither", fd);
    MUST(utimensat(AT_FDCWD, "f", NULL, 0));
    show("now", fd);
    MUST(chown("f", -1, -1));
    show("no owner", fd);
    MUST(chown("f", 0, -1));
    show("owner", fd);
    MUST(chown("f", -1, 0));
    show("group", fd);
}

CASE(inotify_overflow) {
    int fd = instance();
    make("f");
    MUST(inotify_add_watch(fd, "f", IN_OPEN | IN_CLOSE_NOWRITE));
    for (int i = 0; i < 8200; i++)
        MUST(close(MUST(open("f", O_RDONLY))));
    int unread = 0;
    MUST(ioctl(fd, FIONREAD, &unread));
    say("%d unread\n", unread);
    struct inotify_event e;
    int events = 0;
    while (read(fd, &e, sizeof e) == sizeof e) {
        if (events >= 16383)
            say("%d: wd %d mask %x\n", events, e.wd, e.mask);
        events++;
    }
    say("%d events\n", events);
    MUST(close(MUST(open("f", O_RDONLY))));
    show("afterwards", fd);
}

static void *later(void *name) {
    sleep_ms(50);
    make(name);
    return NULL;
}

CASE(inotify_waiting) {
    int fd = MUST(inotify_init1(0));
    MUST(inotify_add_watch(fd, ".", IN_CREATE));
    pthread_t thread;
    MUST(pthread_create(&thread, NULL, later, "a"));
    show("read", fd);
    pthread_join(thread, NULL);
    int set = MUST(epoll_create1(0));
    struct epoll_event e = {.events = EPOLLIN | EPOLLET};
    MUST(epoll_ctl(set, EPOLL_CTL_ADD, fd, &e));
    R(epoll_wait(set, &e, 1, 0));
    MUST(pthread_create(&thread, NULL, later, "b"));
    R(epoll_wait(set, &e, 1, 5000));
    say_events("epoll", e.events);
    pthread_join(thread, NULL);
    R(epoll_wait(set, &e, 1, 0));
    MUST(mkdir("c", 0755));
    R(epoll_wait(set, &e, 1, 0));
    show("epoll", fd);
}

CASE(inotify_two_instances_and_fork) {
    int a = instance(), b = instance();
    make("f");
    R(inotify_add_watch(a, "f", IN_OPEN));
    R(inotify_add_watch(b, "f", IN_CLOSE));
    pid_t child = MUST(fork());
    if (child == 0)
        _exit(open("f", O_RDONLY) < 0);
    reap("child", child);
    show("a", a);
    show("b", b);
    MUST(close(a));
    MUST(close(MUST(open("f", O_WRONLY))));
    show("b", b);
}

CASE(inotify_program) {
    int fd = instance();
    MUST(symlink("/proc/self/exe", "l"));
    char self[64] = "";
    MUST(readlink("l", self, sizeof self - 1));
    int from = MUST(open(self, O_RDONLY)), to = MUST(open("program", O_WRONLY | O_CREAT, 0755));
    while (sendfile(to, from, NULL, 1 << 20) > 0)
        ;
    MUST(close(to));
    MUST(inotify_add_watch(fd, "program", IN_ALL_EVENTS));
    pid_t child = MUST(fork());
    if (child == 0) {
        execl("program", "program", "--none", NULL);
        _exit(1);
    }
    int status;
    MUST(waitpid(child, &status, 0));
    show("run", fd);
}

CASE(inotify_limits) {
    static const char *files[] = {"max_queued_events", "max_user_instances", "max_user_watches"};
    for (int i = 0; i < 3; i++) {
        char path[64], text[32] = "";
        snprintf(path, sizeof path, "/proc/sys/fs/inotify/%s", files[i]);
        int fd = MUST(open(path, O_RDONLY));
        MUST(read(fd, text, sizeof text - 1));
        say("%s: %s", files[i], i < 1 ? text : atol(text) > 100 ? "more than 100\n" : "few\n");
        close(fd);
    }
}

CASE(inotify_many_instances) {
    int made = 0;
    while (inotify_init1(0) >= 0)
        made++;
    say("%s after more than 100: %d\n", strerrorname_np(errno), made > 100);
}
