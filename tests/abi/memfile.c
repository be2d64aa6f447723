/* memfd_create(2), shared and private file mappings, sparse files. */
#include "abi.h"

CASE(memfd_basics) {
    OK(memfd_create("name", MFD_CLOEXEC));
    int fd = MUST(memfd_create("name", 0));
    char path[64], link[64] = {0};
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    MUST(readlink(path, link, sizeof link - 1));
    say("%s\n", link);
    struct stat st;
    MUST(fstat(fd, &st));
    say("%o links %d size %d\n", st.st_mode, (int)st.st_nlink, (int)st.st_size);
    R(write(fd, "hello", 5));
    int again = MUST(open(path, O_RDONLY));
    char buf[8] = {0};
    R(read(again, buf, 8));
    say("%s\n", buf);
    R(write(again, "x", 1));
    R(ftruncate(fd, 100000));
    R(lseek(fd, 0, SEEK_END));
    R(fcntl(fd, F_GETFL) & O_ACCMODE);
    R(memfd_create("x", 0x4000));
    R(memfd_create((char *)8, 0));
    char name[300];
    memset(name, 'n', sizeof name);
    name[249] = 0;
    OK(memfd_create(name, 0));
    name[249] = 'n', name[250] = 0;
    OK(memfd_create(name, 0));
}

CASE(memfd_seals) {
    int fd = MUST(memfd_create("s", MFD_ALLOW_SEALING));
    int plain = MUST(memfd_create("p", 0));
    MUST(ftruncate(fd, 4096));
    R(fcntl(fd, F_GET_SEALS));
    R(fcntl(plain, F_GET_SEALS));
    R(fcntl(plain, F_ADD_SEALS, F_SEAL_GROW));
    R(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
    R(ftruncate(fd, 8192));
    R(pwrite(fd, "x", 1, 4096));
    R(pwrite(fd, "x", 1, 4095));
    R(fallocate(fd, 0, 0, 8192));
    R(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
    R(ftruncate(fd, 10));
    R(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL));
    R(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
    R(fcntl(fd, F_GET_SEALS));
    int file = MUST(open("f", O_RDWR | O_CREAT, 0600));
    R(fcntl(0, F_GET_SEALS) < 0);
    (void)file;
}

/* Two mappings of one file show each other's stores, and those of write(2). */
CASE(mapping_is_shared) {
    int fd = MUST(memfd_create("m", 0));
    MUST(ftruncate(fd, 3 * 4096));
    char *a = mmap(0, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    char *b = mmap(0, 3 * 4096, PROT_READ, MAP_SHARED, fd, 0);
    char *p = mmap(0, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    say("empty: %d %d %d\n", a[0], b[4096], p[8192]);
    a[0] = 'A';
    say("%c %c\n", b[0], p[0]);
    MUST(pwrite(fd, "W", 1, 4096));
    say("%c %c\n", a[4096], b[4096]);
    p[4096] = 'P';
    say("%c %c\n", p[4096], b[4096]);
    char c;
    MUST(pread(fd, &c, 1, 4096));
    say("%c\n", c);
    a[8192] = 'Z';
    MUST(pread(fd, &c, 1, 8192));
    say("%c\n", c);
    /* Beyond the end of the file there is SIGBUS, also after it grew and shrank. */
    pid_t child = MUST(fork());
    if (child == 0) {
        a[1] = 'c';
        char *far = mmap(0, 5 * 4096, PROT_READ, MAP_SHARED, fd, 0);
        volatile char *t = far + 4 * 4096;
        (void)*t;
        _exit(0);
    }
    reap("beyond", child);
    say("%c\n", b[1]);
}

CASE(mapping_of_image_file) {
    int fd = MUST(open("/proc/self/exe", O_RDONLY));
    struct stat st;
    MUST(fstat(fd, &st));
    char *m = mmap(0, st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    say("%d %.3s\n", m[0], m + 1);
    /* What follows the file in its last page reads as zeros. */
    long end = st.st_size;
    int rest = 0;
    for (long i = end; i % 4096; i++)
        rest |= m[i];
    say("rest: %d\n", rest);
    char buf[4096];
    int same = 1;
    for (long at = 0; at < end; at += sizeof buf) {
        long n = pread(fd, buf, sizeof buf, at);
        same &= n > 0 && memcmp(buf, m + at, n) == 0;
    }
    say("same: %d\n", same);
    R(open("/proc/self/exe", O_RDWR));
}

CASE(mapping_read_into) {
    /* A read into a mapping of the file that is read, and a write from one. */
    int fd = MUST(open("f", O_RDWR | O_CREAT, 0600));
    MUST(ftruncate(fd, 4 * 4096));
    MUST(pwrite(fd, "source", 6, 0));
    char *m = mmap(0, 4 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    R(pread(fd, m + 2 * 4096 - 3, 6, 0));
    say("%.6s\n", m + 2 * 4096 - 3);
    R(pwrite(fd, m + 2 * 4096 - 3, 6, 3 * 4096 - 2));
    say("%.6s\n", m + 3 * 4096 - 2);
    R(write(fd, m, 4 * 4096));
    struct stat st;
    MUST(fstat(fd, &st));
    say("%d\n", (int)st.st_size);
}

CASE(sparse_far_offsets) {
    int fd = MUST(memfd_create("far", 0));
    R(pwrite(fd, "x", 1, 1L << 40));
    struct stat st;
    MUST(fstat(fd, &st));
    say("%ld, few blocks: %d\n", (long)st.st_size, st.st_blocks < 100);
    R(lseek(fd, 0, SEEK_DATA) >> 20);
    R(lseek(fd, 0, SEEK_HOLE));
    R(lseek(fd, st.st_size, SEEK_DATA));
    R(lseek(fd, -1, SEEK_DATA));
    R(ftruncate(fd, 1L << 62));
    R(lseek(fd, 0, SEEK_END) >> 62);
    R(pwrite(fd, "x", 1, 0x7fffffffffffffff));
    R(lseek(fd, 0x7fffffffffffffff, SEEK_SET) >> 40);
    R(lseek(fd, 1, SEEK_CUR));
    char c;
    R(read(fd, &c, 1));
    R(write(fd, &c, 1));
}
