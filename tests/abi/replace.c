/* Names that are replaced while others look them up: rename(2) is atomic. */
#include "abi.h"

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
