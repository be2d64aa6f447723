/* What open and mapped files are called when their names change: /proc/PID/fd and /proc/PID/maps (proc(5)). */
#include "abi.h"

static void make(const char *name, const char *text) {
    int fd = MUST(open(name, O_RDWR | O_CREAT | O_TRUNC, 0644));
    MUST(write(fd, text, strlen(text)));
    close(fd);
}

/* What the descriptor is called, without the directory of the case. */
static void called(const char *when, int fd, const char *below) {
    char link[32], path[512] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    MUST(readlink(link, path, sizeof path - 1));
    const char *at = strstr(path, below);
    say("%s: %s\n", when, at ? at + strlen(below) : path);
}

CASE(called_an_open_file) {
    char cwd[512];
    if (!getcwd(cwd, sizeof cwd))
        return;
    strcat(cwd, "/");
    make("a", "text");
    MUST(mkdir("d", 0755));
    int fd = MUST(open("a", O_RDWR));
    called("opened", fd, cwd);
    MUST(rename("a", "b"));
    called("renamed", fd, cwd);
    int second = MUST(open("b", O_RDONLY));
    MUST(rename("b", "d/c"));
    called("moved", fd, cwd);
    called("moved, opened later", second, cwd);
    MUST(rename("d", "e"));
    called("its directory renamed", fd, cwd);
    int dir = MUST(open("e", O_RDONLY | O_DIRECTORY));
    MUST(rename("e", "f"));
    called("directory renamed", dir, cwd);
    make("a", "other");
    called("its first name is another's", fd, cwd);
    MUST(link("f/c", "h"));
    called("another name", fd, cwd);
    MUST(unlink("f/c"));
    called("another name is left", fd, cwd);
    int third = MUST(open("h", O_RDONLY));
    MUST(rename("a", "h"));
    called("replaced", third, cwd);
    MUST(rmdir("f"));
    called("directory removed", dir, cwd);
    make("x", "1");
    make("y", "2");
    int x = MUST(open("x", O_RDONLY)), y = MUST(open("y", O_RDONLY));
    MUST(syscall(SYS_renameat2, AT_FDCWD, "x", AT_FDCWD, "y", 2));
    called("x exchanged", x, cwd);
    called("y exchanged", y, cwd);
    MUST(rename("x", "z"));
    called("y moved on", y, cwd);
}

/* The names of this process's mappings of files in its directory. */
static void mapped(const char *when, const char *below) {
    char line[1024];
    FILE *maps = fopen("/proc/self/maps", "r");
    say("%s:", when);
    while (maps && fgets(line, sizeof line, maps)) {
        char *at = strstr(line, below);
        line[strcspn(line, "\n")] = 0;
        if (at)
            say(" '%s'", at + strlen(below));
    }
    say("\n");
    fclose(maps);
}

CASE(called_a_mapped_file) {
    char cwd[512];
    if (!getcwd(cwd, sizeof cwd))
        return;
    strcat(cwd, "/");
    make("a", "text");
    int fd = MUST(open("a", O_RDONLY));
    void *page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
    MUST(page == MAP_FAILED ? -1 : 0);
    mapped("mapped", cwd);
    MUST(rename("a", "b"));
    mapped("renamed", cwd);
    MUST(unlink("b"));
    mapped("removed", cwd);
}
