/* A tmpfs that has no room: tmpfs(5), fallocate(2). */
#include "abi.h"

#include <sys/statvfs.h>

CASE(quota_of_a_tmpfs) {
    const off_t much = (off_t)1 << 42;
    int fd = MUST(open("/dev/shm/abi_quota", O_RDWR | O_CREAT | O_EXCL, 0600));
    R(unlink("/dev/shm/abi_quota"));
    struct statvfs fs;
    R(fstatvfs(fd, &fs));
    say("smaller %d, some free %d\n", fs.f_blocks * fs.f_frsize < (unsigned long)much, fs.f_bavail > 0);
    R(fallocate(fd, 0, 0, much));
    R(lseek(fd, 0, SEEK_END));
    R(posix_fallocate(fd, 0, much));
    R(fallocate(fd, FALLOC_FL_KEEP_SIZE, 4096, much));
    /* A size takes no room, and what is refused leaves room for others. */
    R(ftruncate(fd, much));
    R(pwrite(fd, "end", 3, much - 3));
    char end[3];
    R(pread(fd, end, 3, much - 3));
    struct stat st;
    R(fstat(fd, &st));
    say("blocks %ld\n", (long)st.st_blocks);
}
