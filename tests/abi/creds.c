/* Who sent what comes by AF_UNIX: SO_PASSCRED, SCM_CREDENTIALS (unix(7)). */
#include "abi.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/un.h>
#include <sys/wait.h>

static pid_t self, child_pid;

static const char *who(pid_t pid) {
    return pid == self ? "self" : pid == child_pid && pid ? "child" : pid == 0 ? "nobody" : pid == getppid() ? "parent" : "other";
}

/* Receives up to `len` bytes and tells what came beside them. */
static void take(int fd, size_t len, size_t room, int flags) {
    char data[64], control[256];
    struct iovec v = {data, len};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = room};
    long n = recvmsg(fd, &m, flags | MSG_DONTWAIT);
    say("got %ld%s%.*s flags %#x\n", n, n > 0 ? ": " : "", n > 0 ? (int)n : 0, data, n < 0 ? 0 : m.msg_flags);
    if (n < 0) {
        say("errno %d\n", errno);
        return;
    }
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_type == SCM_CREDENTIALS) {
            struct ucred u;
            memcpy(&u, CMSG_DATA(c), sizeof u);
            say("credentials of %zu bytes: %s %u %u\n", c->cmsg_len, who(u.pid), u.uid, u.gid);
        } else {
            say("level %d type %d, %zu bytes\n", c->cmsg_level, c->cmsg_type, c->cmsg_len);
        }
    }
}

static long give(int fd, const char *text, const struct ucred *as, int pass) {
    char control[128] = {0};
    struct iovec v = {(void *)text, strlen(text)};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control};
    struct cmsghdr *c = (void *)control;
    if (as) {
        *c = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_CREDENTIALS, .cmsg_len = CMSG_LEN(sizeof *as)};
        memcpy(CMSG_DATA(c), as, sizeof *as);
        m.msg_controllen += CMSG_SPACE(sizeof *as);
        c = (void *)(control + m.msg_controllen);
    }
    if (pass >= 0) {
        *c = (struct cmsghdr){.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof pass)};
        memcpy(CMSG_DATA(c), &pass, sizeof pass);
        m.msg_controllen += CMSG_SPACE(sizeof pass);
    }
    if (!m.msg_controllen)
        m.msg_control = NULL;
    return sendmsg(fd, &m, MSG_NOSIGNAL);
}

static void want(int fd, int on) {
    MUST(setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on));
}

static const int kinds[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};

CASE(creds_switch) {
    for (int k = 0; k < 3; k++) {
        int s = MUST(socket(AF_UNIX, kinds[k], 0)), value = -1;
        socklen_t size = sizeof value;
        R(getsockopt(s, SOL_SOCKET, SO_PASSCRED, &value, &size));
        say("%d\n", value);
        R(setsockopt(s, SOL_SOCKET, SO_PASSCRED, &(int){7}, 4));
        R(getsockopt(s, SOL_SOCKET, SO_PASSCRED, &value, &size));
        say("%d\n", value);
        R(setsockopt(s, SOL_SOCKET, SO_PASSCRED, &(int){0}, 4));
        R(getsockopt(s, SOL_SOCKET, SO_PASSCRED, &value, &size));
        say("%d\n", value);
        R(setsockopt(s, SOL_SOCKET, SO_PASSCRED, "a", 1));
    }
}

CASE(creds_told) {
    self = getpid();
    for (int k = 0; k < 3; k++) {
        int p[2];
        MUST(socketpair(AF_UNIX, kinds[k], 0, p));
        say("kind %d\n", kinds[k]);
        R(send(p[0], "unwanted", 8, 0));
        take(p[1], 64, 256, 0);
        want(p[1], 1);
        R(send(p[0], "wanted", 6, 0));
        take(p[1], 64, 256, MSG_PEEK);
        take(p[1], 3, 256, 0);
        take(p[1], 64, 256, 0);
        R(send(p[0], "no room", 7, 0));
        take(p[1], 64, 0, 0);
        R(send(p[0], "some room", 9, 0));
        take(p[1], 64, CMSG_LEN(4), 0);
        R(give(p[0], "files", NULL, 1));
        take(p[1], 64, 256, 0);
        R(write(p[0], "by write", 8));
        take(p[1], 64, 256, 0);
        want(p[1], 0);
        R(send(p[0], "no more", 7, 0));
        take(p[1], 64, 256, 0);
        MUST(close(p[0]));
        want(p[1], 1);
        take(p[1], 64, 256, 0);
    }
}

CASE(creds_of_two) {
    self = getpid();
    for (int k = 0; k < 3; k++) {
        int p[2];
        MUST(socketpair(AF_UNIX, kinds[k], 0, p));
        want(p[1], 1);
        MUST(send(p[0], "one ", 4, 0));
        MUST(send(p[0], "two ", 4, 0));
        child_pid = MUST(fork());
        if (!child_pid) {
            send(p[0], "child", 5, 0);
            _exit(0);
        }
        MUST(waitpid(child_pid, NULL, 0));
        MUST(send(p[0], "three", 5, 0));
        for (int n = 0; n < 4; n++)
            take(p[1], 64, 256, 0);
    }
}

CASE(creds_given) {
    self = getpid();
    for (int k = 0; k < 2; k++) {
        int p[2];
        struct ucred as = {getpid(), getuid(), getgid()};
        MUST(socketpair(AF_UNIX, kinds[k], 0, p));
        R(give(p[0], "nobody asks", &as, -1));
        take(p[1], 64, 256, 0);
        want(p[1], 1);
        R(give(p[0], "own", &as, -1));
        take(p[1], 64, 256, 0);
        R(give(p[0], "with a file", &as, 1));
        take(p[1], 64, 256, 0);
        as.pid = getppid();
        R(give(p[0], "parent's", &as, -1));
        take(p[1], 64, 256, 0);
        as.pid = 0x3ffffff;
        R(give(p[0], "nobody's", &as, -1));
        as.pid = getpid();
        as.uid = -1;
        R(give(p[0], "bad", &as, -1));
    }
}

CASE(creds_names) {
    /* Who asks for them gets a name, so that it can be answered. */
    struct sockaddr_un at = {.sun_family = AF_UNIX}, got;
    strcpy(at.sun_path, "s");
    socklen_t size = sizeof at;
    int listener = MUST(socket(AF_UNIX, SOCK_STREAM, 0)), a = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    MUST(bind(listener, (void *)&at, sizeof at));
    MUST(listen(listener, 5));
    want(a, 1);
    MUST(connect(a, (void *)&at, sizeof at));
    R(getsockname(a, (void *)&got, &size));
    int b = MUST(accept(listener, NULL, NULL)), value = -1;
    size = sizeof value;
    R(getsockopt(b, SOL_SOCKET, SO_PASSCRED, &value, &size));
    say("accepted has %d\n", value);
    want(listener, 1);
    int c = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    MUST(connect(c, (void *)&at, sizeof at));
    MUST(send(c, "early", 5, 0));
    int d = MUST(accept(listener, NULL, NULL));
    size = sizeof value;
    R(getsockopt(d, SOL_SOCKET, SO_PASSCRED, &value, &size));
    say("accepted has %d\n", value);
    self = getpid();
    take(d, 64, 256, 0);
    struct sockaddr_un dg = {.sun_family = AF_UNIX};
    strcpy(dg.sun_path, "d");
    int x = MUST(socket(AF_UNIX, SOCK_DGRAM, 0)), y = MUST(socket(AF_UNIX, SOCK_DGRAM, 0));
    MUST(bind(x, (void *)&dg, sizeof dg));
    want(y, 1);
    MUST(sendto(y, "hello", 5, 0, (void *)&dg, sizeof dg));
    size = sizeof got;
    R(getsockname(y, (void *)&got, &size));
}
