/* Names: mkdir(2), rmdir(2), unlink(2), rename(2), link(2), symlink(2), readlink(2), and their rules about slashes, dots
 * and symbolic links (path_resolution(7)). */
#include "abi.h"

#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#define RENAME_EXCHANGE 2
#endif

static void make(const char *name, const char *text) {
    int fd = MUST(open(name, O_RDWR | O_CREAT | O_TRUNC, 0644));
    MUST(write(fd, text, strlen(text)));
    close(fd);
}

/* What a file holds. */
static void show(const char *name) {
    char buf[64] = {0};
    int fd = open(name, O_RDONLY);
    long n = fd < 0 ? -1 : read(fd, buf, sizeof buf - 1);
    say("%s: %s\n", name, n < 0 ? strerrorname_np(errno) : buf);
    if (fd >= 0)
        close(fd);
}

static int renameat2_(const char *a, const char *b, unsigned flags) {
    return syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, flags);
}

/* A file, a directory, links to each, and one that leads nowhere. */
static void landscape(void) {
    make("f", "file");
    MUST(mkdir("d", 0755));
    make("d/x", "inner");
    MUST(mkdir("e", 0755));
    MUST(symlink("f", "lf"));
    MUST(symlink("d", "ld"));
    MUST(symlink("none", "ln"));
}

CASE(name_mkdir_rmdir) {
    landscape();
    R(mkdir("new/", 0755));
    R(mkdir("new", 0755));
    R(mkdir("f", 0755));
    R(mkdir("f/", 0755));
    R(mkdir("f/x", 0755));
    R(mkdir("ld", 0755));
    R(mkdir("ln", 0755));
    R(mkdir("ln/", 0755));
    R(mkdir(".", 0755));
    R(mkdir("..", 0755));
    R(mkdir("/", 0755));
    R(mkdir("", 0755));
    R(mkdir("a/b", 0755));
    R(rmdir("new/"));
    R(rmdir("new"));
    R(rmdir("d"));
    R(rmdir("f"));
    R(rmdir("f/"));
    R(rmdir("ld"));
    R(rmdir("ld/"));
    R(rmdir("e/."));
    R(rmdir("e/.."));
    R(rmdir("."));
    R(rmdir(".."));
    R(rmdir("/"));
    R(rmdir("/proc"));
    R(unlinkat(AT_FDCWD, "e", AT_REMOVEDIR));
    R(unlinkat(AT_FDCWD, "f", AT_REMOVEDIR));
    R(unlinkat(AT_FDCWD, "f", 1));
}

CASE(name_unlink) {
    landscape();
    R(unlink("d"));
    R(unlink("d/"));
    R(unlink("f/"));
    R(unlink("ld/"));
    R(unlink("."));
    R(unlink("d/."));
    R(unlink("missing"));
    R(unlink("missing/"));
    R(unlink("f/x"));
    R(unlink("lf"));
    R(unlink("ld"));
    R(unlink("ln"));
    R(unlink("f"));
    R(unlink(""));
    show("d/x");
}

CASE(name_rename) {
    landscape();
    R(rename("f", "g"));
    R(rename("g", "f"));
    R(rename("f", "f"));
    R(rename("f", "d"));
    R(rename("d", "f"));
    R(rename("d", "e"));
    R(rename("e", "d"));
    R(rename("e", "f/x"));
    R(rename("missing", "f"));
    R(rename("d", "d/sub"));
    R(rename("d/x", "d"));
    R(rename("f/", "g"));
    R(rename("f", "g/"));
    R(rename("d/", "g/"));
    show("g/x");
    R(rename("g", "d"));
    R(rename("ld/", "q"));
    R(rename("ld", "lq"));
    R(rename("lq", "ld"));
    R(rename("f", "lf"));
    show("lf");
    R(rename(".", "q"));
    R(rename("d", "."));
    R(rename("/proc", "q"));
    R(rename("lf", "/proc/x"));
    R(rename("", "x"));
    R(rename("d", ""));
    make("a", "1");
    MUST(link("a", "b"));
    R(rename("a", "b"));
    show("a");
    show("b");
}

CASE(name_rename_modes) {
    landscape();
    R(renameat2_("f", "d", RENAME_NOREPLACE));
    R(renameat2_("f", "lf", RENAME_NOREPLACE));
    R(renameat2_("f", "g", RENAME_NOREPLACE));
    R(renameat2_("g", "missing", RENAME_EXCHANGE));
    R(renameat2_("g", "d", RENAME_EXCHANGE));
    show("d");
    show("g/x");
    R(renameat2_("g", "g/x", RENAME_EXCHANGE));
    R(renameat2_("g/x", "g", RENAME_EXCHANGE));
    R(renameat2_("g", "d", RENAME_EXCHANGE | RENAME_NOREPLACE));
    R(renameat2_("g", "d", 64));
    R(renameat2_("g", ".", RENAME_NOREPLACE));
    R(renameat2_("g", "g", RENAME_EXCHANGE));
}

/* A directory keeps its files when it moves, also for those who are in it. */
CASE(name_rename_open_directory) {
    landscape();
    int d = MUST(open("d", O_RDONLY | O_DIRECTORY));
    MUST(chdir("d"));
    R(rename("../d", "../e/moved"));
    char cwd[512];
    MUST(getcwd(cwd, sizeof cwd) ? 0 : -1);
    say("%s\n", strstr(cwd, "/e/moved") ? "moved" : cwd);
    show("x");
    show("../moved/x");
    int x = MUST(openat(d, "x", O_RDONLY));
    close(x);
    struct stat st;
    MUST(stat("..", &st));
    say("links of e: %d\n", (int)st.st_nlink);
}

CASE(name_link) {
    landscape();
    struct stat st;
    R(link("f", "g"));
    MUST(stat("g", &st));
    say("links %d\n", (int)st.st_nlink);
    R(link("f", "g"));
    R(link("f", "d"));
    R(link("d", "dd"));
    R(link("missing", "x"));
    R(link("f", "new/"));
    R(link("f", "f/x"));
    R(link("lf", "hl"));
    MUST(lstat("hl", &st));
    say("link to link: %d\n", S_ISLNK(st.st_mode));
    R(linkat(AT_FDCWD, "lf", AT_FDCWD, "hf", AT_SYMLINK_FOLLOW));
    MUST(lstat("hf", &st));
    say("link through link: %d, %d\n", S_ISREG(st.st_mode), (int)st.st_nlink);
    R(linkat(AT_FDCWD, "f", AT_FDCWD, "z", 1));
    R(link("f", "/proc/x"));
    int fd = MUST(open("f", O_RDONLY));
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    R(linkat(AT_FDCWD, path, AT_FDCWD, "by_fd", AT_SYMLINK_FOLLOW));
    R(linkat(fd, "", AT_FDCWD, "by_empty", AT_EMPTY_PATH));
    show("by_fd");
    unlink("by_empty");
    MUST(unlink("f"));
    MUST(unlink("g"));
    MUST(unlink("hf"));
    MUST(unlink("by_fd"));
    R(linkat(AT_FDCWD, path, AT_FDCWD, "again", AT_SYMLINK_FOLLOW));
}

CASE(name_symlink) {
    landscape();
    R(symlink("x", "f"));
    R(symlink("x", "d/"));
    R(symlink("x", "new/"));
    R(symlink("", "empty"));
    R(symlink("anything at all", "any"));
    R(symlink("x", "missing/y"));
    char buf[64] = {0};
    R(readlink("any", buf, sizeof buf));
    say("%s\n", buf);
    memset(buf, 0, sizeof buf);
    R(readlink("any", buf, 3));
    say("%s\n", buf);
    R(readlink("any", buf, 0));
    R(readlink("f", buf, sizeof buf));
    R(readlink("d", buf, sizeof buf));
    R(readlink("ld/", buf, sizeof buf));
    R(readlink("missing", buf, sizeof buf));
    R(readlink("", buf, sizeof buf));
    struct stat st;
    MUST(lstat("any", &st));
    say("size %d mode %o\n", (int)st.st_size, st.st_mode);
    MUST(lstat("ld", &st));
    say("lstat ld: %o\n", st.st_mode & S_IFMT);
    MUST(lstat("ld/", &st));
    say("lstat ld/: %o\n", st.st_mode & S_IFMT);
    R(lstat("lf/", &st));
    int fd = MUST(open("any", O_PATH | O_NOFOLLOW));
    memset(buf, 0, sizeof buf);
    R(readlinkat(fd, "", buf, sizeof buf));
    say("%s\n", buf);
    int d = MUST(open("d", O_PATH));
    R(readlinkat(d, "", buf, sizeof buf));
    R(fstat(fd, &st));
    say("%o\n", st.st_mode & S_IFMT);
}

/* 40 links are followed, 41 are not. */
CASE(name_link_chains) {
    make("l0", "end");
    char from[16], to[16];
    for (int i = 1; i <= 41; i++) {
        snprintf(from, sizeof from, "l%d", i - 1);
        snprintf(to, sizeof to, "l%d", i);
        MUST(symlink(from, to));
    }
    OK(open("l40", O_RDONLY));
    OK(open("l41", O_RDONLY));
    MUST(mkdir("d", 0755));
    MUST(symlink("../l0", "d/up"));
    MUST(symlink("d/up", "two"));
    show("two");
    MUST(symlink("/", "root"));
    OK(access("root/proc/self/stat", R_OK));
    MUST(symlink("d/", "slash"));
    OK(access("slash/up", F_OK));
    OK(open("slash", O_RDONLY | O_NOFOLLOW));
    OK(open("slash/", O_RDONLY | O_NOFOLLOW));
}

CASE(name_descriptor_relative) {
    landscape();
    int d = MUST(open("d", O_RDONLY | O_DIRECTORY));
    int p = MUST(open("e", O_PATH | O_DIRECTORY));
    int f = MUST(open("f", O_RDONLY));
    OK(openat(d, "x", O_RDONLY));
    R(mkdirat(p, "sub", 0700));
    R(symlinkat("sub", p, "ls"));
    R(renameat(d, "x", p, "y"));
    show("e/y");
    R(unlinkat(p, "y", 0));
    R(unlinkat(p, "sub", AT_REMOVEDIR));
    R(openat(f, "x", O_RDONLY));
    R(openat(f, "", O_RDONLY));
    R(mkdirat(f, "x", 0700));
    R(mkdirat(99, "x", 0700));
    R(faccessat(d, "../f", R_OK, 0));
    R(faccessat(p, "..", X_OK, 0));
    R(fchdir(p));
    R(fchdir(f));
    R(access("ls", F_OK));
    R(faccessat(AT_FDCWD, "ls", F_OK, AT_SYMLINK_NOFOLLOW));
}

CASE(name_access) {
    landscape();
    MUST(chmod("f", 0600));
    R(access("f", R_OK | W_OK));
    R(access("f", X_OK));
    MUST(chmod("f", 0100));
    R(access("f", X_OK));
    R(access("d", X_OK));
    R(access("f", 8));
    R(access("f/", F_OK));
    R(access("missing", F_OK));
    R(access("ln", F_OK));
    R(access("", F_OK));
}

static int openat2_(const char *path, unsigned long flags, unsigned long resolve) {
    struct open_how how = {.flags = flags, .resolve = resolve};
    return syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof how);
}

CASE(name_openat2) {
    landscape();
    MUST(symlink("../f", "d/out"));
    MUST(symlink("/etc", "abs"));
    OK(openat2_("f", O_RDONLY, 0));
    OK(openat2_("lf", O_RDONLY, RESOLVE_NO_SYMLINKS));
    OK(openat2_("ld/x", O_RDONLY, RESOLVE_NO_SYMLINKS));
    OK(openat2_("ld/x", O_RDONLY, RESOLVE_BENEATH));
    OK(openat2_("d/../f", O_RDONLY, RESOLVE_BENEATH));
    OK(openat2_("d/out", O_RDONLY, RESOLVE_BENEATH));
    OK(openat2_("../x", O_RDONLY, RESOLVE_BENEATH));
    OK(openat2_("/etc", O_RDONLY, RESOLVE_BENEATH));
    OK(openat2_("abs", O_RDONLY, RESOLVE_BENEATH));
    OK(openat2_("/f", O_RDONLY, RESOLVE_IN_ROOT));
    OK(openat2_("../../f", O_RDONLY, RESOLVE_IN_ROOT));
    OK(openat2_("abs", O_RDONLY, RESOLVE_IN_ROOT));
    OK(openat2_("/proc/self/fd/1", O_RDONLY, RESOLVE_NO_MAGICLINKS));
    OK(openat2_("/proc/version", O_RDONLY, RESOLVE_NO_XDEV));
    OK(openat2_("f", O_RDONLY, 0x80));
    OK(openat2_("f", 1UL << 40, 0));
    struct {
        struct open_how how;
        long more;
    } longer = {.how = {.flags = O_RDONLY}};
    OK(syscall(SYS_openat2, AT_FDCWD, "f", &longer, sizeof longer));
    longer.more = 1;
    OK(syscall(SYS_openat2, AT_FDCWD, "f", &longer, sizeof longer));
    OK(syscall(SYS_openat2, AT_FDCWD, "f", &longer, 8));
    struct open_how mode = {.flags = O_RDONLY, .mode = 0600};
    OK(syscall(SYS_openat2, AT_FDCWD, "f", &mode, sizeof mode));
}

CASE(name_path_descriptors) {
    landscape();
    int p = MUST(open("f", O_PATH));
    char c;
    struct stat st;
    R(read(p, &c, 1));
    R(write(p, &c, 1));
    R(lseek(p, 0, SEEK_SET));
    R(ftruncate(p, 0));
    R(fchmod(p, 0600));
    R(fsync(p));
    R(ioctl(p, 0x541b, &c));
    R(fstat(p, &st));
    R(fcntl(p, F_GETFD));
    R(fcntl(p, F_SETFL, 0));
    OK(dup(p));
    R(mmap(0, 4096, PROT_READ, MAP_PRIVATE, p, 0) == MAP_FAILED ? -1 : 0);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", p);
    int again = MUST(open(path, O_RDONLY));
    R(read(again, &c, 1));
    int d = MUST(open("d", O_PATH));
    R(syscall(SYS_getdents64, d, path, sizeof path));
    OK(openat(d, "x", O_RDONLY));
    OK(open("lf", O_PATH | O_NOFOLLOW));
    OK(open("lf", O_RDONLY | O_NOFOLLOW));
    OK(open("lf", O_PATH | O_NOFOLLOW | O_DIRECTORY));
}

CASE(name_temporary) {
    int fd = open(".", O_TMPFILE | O_RDWR, 0600);
    OK(fd);
    R(write(fd, "hidden", 6));
    struct stat st;
    MUST(fstat(fd, &st));
    say("links %d size %d\n", (int)st.st_nlink, (int)st.st_size);
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    R(linkat(AT_FDCWD, path, AT_FDCWD, "named", AT_SYMLINK_FOLLOW));
    show("named");
    int excl = open(".", O_TMPFILE | O_RDWR | O_EXCL, 0600);
    snprintf(path, sizeof path, "/proc/self/fd/%d", excl);
    R(linkat(AT_FDCWD, path, AT_FDCWD, "never", AT_SYMLINK_FOLLOW));
    R(open(".", O_TMPFILE | O_RDONLY, 0600));
    R(open("named", O_TMPFILE | O_RDWR, 0600));
}

CASE(name_nodes) {
    R(mknod("plain", S_IFREG | 0640, 0));
    R(mknod("bare", 0600, 0));
    R(mknod("null", S_IFCHR | 0666, makedev(1, 3)));
    R(mknod("nodev", S_IFCHR | 0666, makedev(200, 200)));
    R(mknod("plain", S_IFREG | 0640, 0));
    R(mknod("dir", S_IFDIR | 0700, 0));
    struct stat st;
    MUST(stat("null", &st));
    say("%o %d:%d\n", st.st_mode & S_IFMT, major(st.st_rdev), minor(st.st_rdev));
    char c = 'x';
    int fd = open("null", O_RDWR);
    OK(fd);
    R(write(fd, &c, 1));
    R(read(fd, &c, 1));
    R(open("nodev", O_RDONLY));
}

/* Says what a descriptor is called, below the working directory. */
static void say_name(const char *what, int fd) {
    char link[32], here[4096], path[4096] = {0};
    MUST(getcwd(here, sizeof here) ? 0 : -1);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    MUST(readlink(link, path, sizeof path - 1));
    size_t len = strlen(here);
    say("%s: %s\n", what, strncmp(path, here, len) == 0 ? path + len : path);
}

/* The name of an open file follows the directories above it. */
CASE(name_of_descriptors) {
    MUST(mkdir("outer", 0700));
    MUST(mkdir("outer/inner", 0700));
    int file = MUST(open("outer/inner/file", O_CREAT | O_RDWR, 0600)), dir = MUST(open("outer/inner", O_RDONLY));
    int dot = MUST(open(".", O_RDONLY));
    say_name("file", file);
    say_name("directory", dir);
    say_name("here", dot);
    MUST(rename("outer", "moved"));
    say_name("file", file);
    say_name("directory", dir);
    MUST(rename("moved/inner", "inner"));
    say_name("file", file);
    MUST(unlink("inner/file"));
    say_name("file", file);
    MUST(rmdir("inner"));
    say_name("file", file);
    say_name("directory", dir);
}
