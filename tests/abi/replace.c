/* Names that are replaced while others look them up: rename(2) is atomic. Files that are run and written. */
#include "abi.h"

#include <sys/sendfile.h>

#define LOOKUPS 20000

/* Puts new files and new links at `file` and `link`, until it is ended. */
static void replace_for_ever(void) {
    for (;;) {
        close(MUST(open("new", O_CREAT | O_WRONLY | O_TRUNC, 0600)));
        MUST(rename("new", "file"));
        MUST(symlink("file", "newlink"));
        MUST(rename("newlink", "link"));
    }
}

/* A file that is run cannot be written, and one that is open for writing cannot be run (ETXTBSY). */
CASE(text_busy) {
    R(open("/proc/self/exe", O_WRONLY));
    R(open("/proc/self/exe", O_RDWR));
    R(open("/proc/self/exe", O_RDONLY | O_TRUNC));
    R(truncate("/proc/self/exe", 1));
    char path[4096] = {0};
    MUST(readlink("/proc/self/exe", path, sizeof path - 1));
    R(open(path, O_WRONLY));
    R(truncate(path, 1));
    int from = MUST(open("/proc/self/exe", O_RDONLY)), to = MUST(open("copy", O_CREAT | O_WRONLY, 0755));
    struct stat size;
    MUST(fstat(from, &size));
    for (off_t left = size.st_size; left > 0;)
        left -= MUST(sendfile(to, from, NULL, left));
    char *args[] = {"copy", "--nothing", NULL};
    R(execv("copy", args));
    close(to);
    to = MUST(open("copy", O_RDONLY));
    R(fchmod(to, 0700));
    close(MUST(open("copy", O_RDONLY | O_TRUNC)));
    MUST(stat("copy", &size));
    say("%ld bytes are left\n", (long)size.st_size);
}

CASE(rename_replaces_a_name_that_others_look_up) {
    close(MUST(open("file", O_CREAT | O_WRONLY, 0600)));
    MUST(symlink("file", "link"));
    pid_t child = MUST(fork());
    if (child == 0)
        replace_for_ever();
    int gone = 0;
    for (int i = 0; i < LOOKUPS; i++) {
        const char *name = i % 2 == 0 ? "file" : "link";
        struct stat stat_of;
        char target[16];
        int fd = open(name, O_RDONLY);
        if (fd < 0)
            gone++;
        else
            close(fd);
        if (stat(name, &stat_of) != 0)
            gone++;
        if (readlink("link", target, sizeof target) != 4)
            gone++;
        if (i % 64 == 0)
            sched_yield();
    }
    MUST(kill(child, SIGKILL));
    reap("child", child);
    say("%d of the look-ups found nothing\n", gone);
}
