/* FIFOs: mkfifo(3), fifo(7). */
#include "abi.h"

#include <sys/ioctl.h>

CASE(fifo_make) {
    R(mkfifo("f", 0640));
    R(mkfifo("f", 0640));
    R(mkfifo("no/f", 0640));
    R(mknod("g", S_IFIFO | 0600, 0));
    struct stat st;
    R(stat("f", &st));
    say("%o size %ld links %ld\n", st.st_mode, (long)st.st_size, (long)st.st_nlink);
    R(link("f", "h"));
    R(stat("f", &st));
    say("links %ld\n", (long)st.st_nlink);
    R(unlink("h"));
    R(truncate("f", 0));
    R(open("f", O_RDWR | O_CREAT | O_EXCL, 0600));
    R(open("f", O_RDONLY | O_DIRECTORY));
    R(chmod("f", 0600));
    R(rename("f", "i"));
    R(stat("i", &st));
    say("%o\n", st.st_mode);
    R(open("f", O_WRONLY | O_NONBLOCK));
}

CASE(fifo_nonblocking_open) {
    MUST(mkfifo("f", 0600));
    R(open("f", O_WRONLY | O_NONBLOCK));
    int r = MUST(open("f", O_RDONLY | O_NONBLOCK));
    say_events("no writer yet", poll_now(r));
    char buf[8];
    R(read(r, buf, sizeof buf));
    int w = MUST(open("f", O_WRONLY | O_NONBLOCK));
    R(read(r, buf, sizeof buf));
    R(write(w, "abc", 3));
    say_events("data", poll_now(r));
    R(read(r, buf, sizeof buf));
    MUST(close(w));
    say_events("writer gone", poll_now(r));
    R(read(r, buf, sizeof buf));
    w = MUST(open("f", O_WRONLY));
    say_events("another writer", poll_now(r));
    R(read(r, buf, sizeof buf));
    MUST(close(r));
    signal(SIGPIPE, SIG_IGN);
    R(write(w, "x", 1));
    say_events("reader gone", poll_now(w));
}

CASE(fifo_blocking_open) {
    MUST(mkfifo("f", 0600));
    pid_t child = MUST(fork());
    if (child == 0) {
        int w = open("f", O_WRONLY);
        _exit(write(w, "hello", 5));
    }
    char buf[8] = {0};
    int r = MUST(open("f", O_RDONLY));
    R(read(r, buf, sizeof buf));
    say("%s\n", buf);
    reap("writer", child);
    R(read(r, buf, sizeof buf));
    MUST(close(r));
    child = MUST(fork());
    if (child == 0) {
        sleep_ms(50);
        r = open("f", O_RDONLY);
        _exit(read(r, buf, sizeof buf));
    }
    int w = MUST(open("f", O_WRONLY));
    R(write(w, "later", 5));
    reap("reader", child);
}

CASE(fifo_read_write) {
    MUST(mkfifo("f", 0600));
    int fd = MUST(open("f", O_RDWR));
    char buf[8] = {0};
    R(write(fd, "self", 4));
    int unread = 0;
    R(ioctl(fd, FIONREAD, &unread));
    say("%d\n", unread);
    say_events("both", poll_now(fd));
    R(read(fd, buf, sizeof buf));
    say("%s\n", buf);
    R(lseek(fd, 0, SEEK_SET));
    R(pread(fd, buf, 1, 0));
    R(pwrite(fd, buf, 1, 0));
    R(ftruncate(fd, 0));
    R(fcntl(fd, F_GETPIPE_SZ));
    R(fcntl(fd, F_SETPIPE_SZ, 8192));
    R(fsync(fd));
    OK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
    struct stat st, by_name;
    R(fstat(fd, &st));
    R(stat("f", &by_name));
    say("%o same %d\n", st.st_mode, st.st_ino == by_name.st_ino && st.st_dev == by_name.st_dev);
    R(unlink("f"));
    R(write(fd, "still", 5));
    R(read(fd, buf, sizeof buf));
    R(fcntl(fd, F_GETFL) & (O_ACCMODE | O_NONBLOCK));
}

CASE(fifo_keeps_nothing) {
    MUST(mkfifo("f", 0600));
    int fd = MUST(open("f", O_RDWR | O_NONBLOCK)), other = MUST(open("f", O_RDONLY | O_NONBLOCK));
    char buf[8];
    MUST(write(fd, "gone", 4));
    R(read(other, buf, 2));
    MUST(close(other));
    MUST(close(fd));
    fd = MUST(open("f", O_RDWR | O_NONBLOCK));
    R(read(fd, buf, sizeof buf));
}

static void ignore(int signal) {
    (void)signal;
}

CASE(fifo_open_is_interrupted) {
    MUST(mkfifo("f", 0600));
    struct sigaction action = {.sa_handler = ignore};
    MUST(sigaction(SIGUSR1, &action, NULL));
    pid_t parent = getpid(), child = MUST(fork());
    if (child == 0) {
        for (int i = 0; i < 20; i++) {
            sleep_ms(20);
            kill(parent, SIGUSR1);
        }
        _exit(0);
    }
    R(open("f", O_RDONLY));
    R(open("f", O_WRONLY));
    kill(child, SIGKILL);
    reap("child", child);
}

static void *open_reader(void *arg) {
    (void)arg;
    sleep_ms(30);
    return (void *)(long)open("f", O_RDONLY);
}

CASE(fifo_between_threads) {
    MUST(mkfifo("f", 0600));
    for (int i = 0; i < 20; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, open_reader, NULL);
        int w = MUST(open("f", O_WRONLY));
        void *r;
        pthread_join(thread, &r);
        char c = 0;
        MUST(write(w, "y", 1));
        MUST(read((long)r, &c, 1));
        MUST(close(w));
        if (read((long)r, &c, 1) != 0)
            say("round %d: no end\n", i);
        MUST(close((long)r));
    }
    say("done\n");
}

CASE(fifo_permissions_and_path) {
    MUST(mkfifo("f", 0600));
    int p = MUST(open("f", O_PATH));
    char buf[8];
    R(read(p, buf, 1));
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", p);
    int r = MUST(open(path, O_RDONLY | O_NONBLOCK));
    int w = MUST(open("f", O_WRONLY));
    R(write(w, "abc", 3));
    R(read(r, buf, sizeof buf));
    R(access("f", R_OK | W_OK));
    R(access("f", X_OK));
}
