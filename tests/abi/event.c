/* eventfd(2), timerfd_create(2). */
#include "abi.h"

#include <sys/eventfd.h>
#include <sys/timerfd.h>

CASE(eventfd_counter) {
    int fd = MUST(eventfd(3, EFD_NONBLOCK));
    uint64_t v = 4;
    say_events("3", poll_now(fd));
    R(write(fd, &v, 8));
    R(read(fd, &v, 8));
    say("value %lu\n", v);
    R(read(fd, &v, 8));
    say_events("0", poll_now(fd));
    v = UINT64_MAX;
    R(write(fd, &v, 8));
    v--;
    R(write(fd, &v, 8));
    say_events("full", poll_now(fd));
    v = 1;
    R(write(fd, &v, 8));
    v = 0;
    R(write(fd, &v, 8));
    R(read(fd, &v, 7));
    R(write(fd, &v, 7));
    char wide[16];
    R(read(fd, wide, 16));
    R(lseek(fd, 0, SEEK_SET));
    R(pread(fd, wide, 8, 0));
    R(read(fd, wide, 0));
}

CASE(eventfd_semaphore) {
    int fd = MUST(eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC));
    uint64_t v;
    for (int i = 0; i < 3; i++)
        if (R(read(fd, &v, 8)) == 8)
            say("value %lu\n", v);
    R(fcntl(fd, F_GETFD));
    R(eventfd(0, 0x40));
}

CASE(eventfd_vectors) {
    int fd = MUST(eventfd(0x0102030405060708 & 0xffffffff, EFD_NONBLOCK));
    char a[3], b[5];
    struct iovec v[2] = {{a, 3}, {b, 5}};
    R(readv(fd, v, 2));
    say("%02x%02x%02x %02x%02x%02x%02x%02x\n", a[0], a[1], a[2], b[0], b[1], b[2], b[3], b[4]);
    struct iovec whole[2] = {{&(uint64_t){5}, 8}, {0, 0}};
    R(writev(fd, whole, 2));
    R(writev(fd, v, 1));
    R(eventfd_read(fd, &(eventfd_t){0}));
}

/* A write is one value; each piece of a vector is a write of its own. */
CASE(eventfd_takes_one_value) {
    int fd = MUST(eventfd(0, EFD_NONBLOCK));
    uint64_t v[4] = {1, 2, 4, 8}, got = 0;
    R(write(fd, v, 32));
    R(write(fd, v + 1, 9));
    R(read(fd, &got, 8));
    say("value %lu\n", got);
    struct iovec whole[3] = {{v, 8}, {v + 1, 8}, {v + 2, 8}};
    R(writev(fd, whole, 3));
    R(read(fd, &got, 8));
    say("value %lu\n", got);
    struct iovec longer[2] = {{v, 16}, {v + 2, 8}};
    R(writev(fd, longer, 2));
    R(read(fd, &got, 8));
    say("value %lu\n", got);
    struct iovec shorter[2] = {{v, 8}, {v + 1, 7}};
    R(writev(fd, shorter, 2));
    R(writev(fd, shorter + 1, 1));
    R(read(fd, &got, 8));
    say("value %lu\n", got);
    struct iovec bad[2] = {{v, 8}, {(void *)8, 8}};
    R(writev(fd, bad, 2));
    R(write(fd, (void *)8, 8));
    R(write(fd, v, 0));
    R(pwrite(fd, v, 8, 0));
    R(read(fd, &got, 8));
    say("value %lu\n", got);
    /* Much more than a value: refused at once. */
    size_t large = 512 << 20;
    char *map = mmap(0, large, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    R(write(fd, map, large));
}

static int shared_event;

static void *add_one(void *arg) {
    (void)arg;
    sleep_ms(30);
    MUST(eventfd_write(shared_event, 5));
    return 0;
}

static void *take_all(void *arg) {
    (void)arg;
    sleep_ms(30);
    uint64_t v = 0;
    MUST(read(shared_event, &v, 8));
    return 0;
}

/* A value for which there is no room waits for it. */
CASE(eventfd_write_blocks) {
    shared_event = MUST(eventfd(0, 0));
    uint64_t v = UINT64_MAX - 1;
    R(write(shared_event, &v, 8));
    pthread_t t;
    pthread_create(&t, 0, take_all, 0);
    v = 7;
    R(write(shared_event, &v, 8));
    R(read(shared_event, &v, 8));
    say("value %lu\n", v);
    pthread_join(t, 0);
}

CASE(eventfd_blocks) {
    shared_event = MUST(eventfd(0, 0));
    pthread_t t;
    pthread_create(&t, 0, add_one, 0);
    uint64_t v = 0;
    R(read(shared_event, &v, 8));
    say("value %lu\n", v);
    pthread_join(t, 0);
}

static struct itimerspec ms(long value, long interval) {
    struct itimerspec s = {{interval / 1000, interval % 1000 * 1000000},
                           {value / 1000, value % 1000 * 1000000}};
    return s;
}

CASE(timerfd_once) {
    int fd = MUST(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
    uint64_t n = 0;
    R(read(fd, &n, 8));
    struct itimerspec s = ms(40, 0), old;
    long from = now_ms();
    R(timerfd_settime(fd, 0, &s, 0));
    R(timerfd_gettime(fd, &old));
    say("left: %d\n", old.it_value.tv_sec == 0 && old.it_value.tv_nsec > 0 &&
                          old.it_value.tv_nsec <= 40000000);
    say_events("armed", poll_now(fd));
    struct pollfd p = {fd, POLLIN, 0};
    R(poll(&p, 1, 5000));
    say("not early: %d\n", now_ms() - from >= 39);
    R(read(fd, &n, 4));
    R(read(fd, &n, 8));
    say("expirations %lu\n", n);
    R(read(fd, &n, 8));
    R(timerfd_gettime(fd, &old));
    say("left %ld %ld\n", (long)old.it_value.tv_sec, old.it_value.tv_nsec);
}

CASE(timerfd_interval) {
    int fd = MUST(timerfd_create(CLOCK_MONOTONIC, 0));
    struct itimerspec s = ms(20, 10), old;
    uint64_t n = 0, total = 0;
    long from = now_ms();
    MUST(timerfd_settime(fd, 0, &s, 0));
    sleep_ms(100);
    while (total < 15) {
        MUST(read(fd, &n, 8));
        if (total == 0)
            say("overruns: %d\n", n >= 8);
        total += n;
    }
    say("not early: %d\n", now_ms() - from >= 20 + 14 * 10 - 1);
    s = ms(0, 0);
    R(timerfd_settime(fd, 0, &s, &old));
    say("interval %ld\n", old.it_interval.tv_nsec);
    R(timerfd_gettime(fd, &old));
    say("disarmed %ld %ld\n", old.it_value.tv_nsec, old.it_interval.tv_nsec);
}

CASE(timerfd_absolute) {
    for (int i = 0; i < 2; i++) {
        int clock = i ? CLOCK_REALTIME : CLOCK_MONOTONIC;
        int fd = MUST(timerfd_create(clock, TFD_NONBLOCK));
        struct itimerspec s = ms(0, 0);
        clock_gettime(clock, &s.it_value);
        uint64_t n = 0;
        R(timerfd_settime(fd, TFD_TIMER_ABSTIME, &s, 0));
        R(read(fd, &n, 8));
        say("in the past: %lu\n", n);
        s.it_value.tv_sec += 100;
        R(timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &s, 0));
        R(read(fd, &n, 8));
        struct itimerspec left;
        MUST(timerfd_gettime(fd, &left));
        say("left: %d\n", left.it_value.tv_sec == 99 || left.it_value.tv_sec == 100);
    }
}

CASE(timerfd_errors) {
    int fd = MUST(timerfd_create(CLOCK_BOOTTIME, 0));
    struct itimerspec s = ms(1000, 0);
    R(timerfd_create(CLOCK_PROCESS_CPUTIME_ID, 0));
    R(timerfd_create(99, 0));
    R(timerfd_create(CLOCK_MONOTONIC, 1));
    R(timerfd_settime(fd, 8, &s, 0));
    R(timerfd_settime(-1, 0, &s, 0));
    R(timerfd_settime(0, 0, &s, 0));
    R(syscall(SYS_timerfd_settime, fd, 0, (void *)8, 0));
    R(syscall(SYS_timerfd_settime, fd, 0, &s, (void *)8));
    s.it_value.tv_nsec = 1000000000;
    R(timerfd_settime(fd, 0, &s, 0));
    R(read(fd, &s, 0));
    s = ms(0, 0);
    s.it_value.tv_sec = -1;
    R(timerfd_settime(fd, 0, &s, 0));
    R(timerfd_gettime(0, &s));
    R(write(fd, &s, 8));
    R(lseek(fd, 0, SEEK_SET));
}
