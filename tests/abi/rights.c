/* Descriptors in messages (unix(7), SCM_RIGHTS). */
#include "abi.h"

#include <sys/un.h>

/* Sends bytes with descriptors. */
ssize_t send_fds(int s, const char *bytes, const int *fds, int count) {
    char control[CMSG_SPACE(300 * sizeof(int))] = {0};
    struct iovec v = {(char *)bytes, strlen(bytes)};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
    if (count) {
        m.msg_control = control;
        m.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(c), fds, count * sizeof(int));
    }
    return sendmsg(s, &m, 0);
}

/* Receives, with room for so many bytes and descriptors, and writes what came. */
int receive_fds(int s, size_t bytes, size_t control_len, int flags, int *fds) {
    char control[512] = {0}, buf[64] = {0};
    struct iovec v = {buf, bytes};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control,
                       .msg_controllen = control_len};
    ssize_t n = recvmsg(s, &m, flags);
    if (n == -1) {
        say("recvmsg: %s\n", strerrorname_np(errno));
        return 0;
    }
    int count = 0;
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
        count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(fds, CMSG_DATA(c), count * sizeof(int));
    }
    say("received %zd \"%s\", flags %#x, control length %zu, descriptors %d\n", n, buf,
        m.msg_flags & ~MSG_CMSG_CLOEXEC, (size_t)m.msg_controllen, count);
    return count;
}

CASE(unix_rights) {
    int s[2], p[2], got[8];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    MUST(pipe(p));
    R(write(s[0], "ab", 2));
    R(send_fds(s[0], "cd", p, 2));
    R(write(s[0], "ef", 2));
    close(p[0]);
    close(p[1]);
    int n = receive_fds(s[1], 64, 512, 0, got);
    receive_fds(s[1], 64, 512, 0, got + 2);
    if (n == 2) {
        char c = 0;
        R(write(got[1], "!", 1));
        R(read(got[0], &c, 1));
        say("%c, close on exec %d\n", c, fcntl(got[0], F_GETFD));
    }
    n = MUST(open("/dev/null", O_RDONLY));
    R(send_fds(s[0], "x", &n, 1));
    receive_fds(s[1], 64, 512, MSG_CMSG_CLOEXEC, got);
    say("close on exec %d\n", fcntl(got[0], F_GETFD));
}

CASE(unix_rights_cut) {
    int s[2], p[2], got[8];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    MUST(pipe(p));
    int three[3] = {p[1], p[1], p[1]};
    MUST(send_fds(s[0], "a", three, 3));
    MUST(send_fds(s[0], "b", three, 3));
    MUST(send_fds(s[0], "c", three, 3));
    close(p[1]);
    receive_fds(s[1], 1, CMSG_LEN(2 * sizeof(int)), 0, got);
    close(got[0]);
    close(got[1]);
    receive_fds(s[1], 1, 0, 0, got);
    char c;
    R(read(s[1], &c, 1));
    /* All the write ends that were not received are closed. */
    say_events("pipe", poll_now(p[0]));
}

CASE(unix_rights_errors) {
    int s[2], fds[300];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    for (int i = 0; i < 300; i++)
        fds[i] = 0;
    R(send_fds(s[0], "x", fds, 253));
    R(send_fds(s[0], "x", fds, 254));
    fds[0] = -1;
    R(send_fds(s[0], "x", fds, 1));
    fds[0] = 999;
    R(send_fds(s[0], "x", fds, 1));
    struct msghdr m = {0};
    char control[8] = {0};
    m.msg_control = control;
    m.msg_controllen = sizeof control;
    R(sendmsg(s[0], &m, 0));
    struct cmsghdr c = {.cmsg_len = 3, .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    m.msg_control = &c;
    m.msg_controllen = sizeof c;
    R(sendmsg(s[0], &m, 0));
    m.msg_controllen = 1 << 20;
    R(sendmsg(s[0], &m, 0));
    R(syscall(SYS_sendmsg, s[0], (void *)8, 0));
    R(syscall(SYS_recvmsg, s[1], (void *)8, MSG_DONTWAIT));
}

/* Unreceived descriptors are closed with the socket, however deep they are in each other. */
CASE(unix_rights_nested) {
    int p[2], s[2], inner;
    MUST(pipe(p));
    inner = p[1];
    for (int i = 0; i < 400; i++) {
        MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
        MUST(send_fds(s[0], "x", &inner, 1));
        close(inner);
        close(s[0]);
        inner = s[1];
    }
    say_events("held", poll_now(p[0]));
    close(inner);
    struct pollfd wait = {p[0], POLLIN, 0};
    R(poll(&wait, 1, 5000));
    say_events("closed", poll_now(p[0]));
}

CASE(unix_rights_to_child) {
    int s[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    pid_t child = MUST(fork());
    if (child == 0) {
        close(s[0]);
        int fd[1];
        if (receive_fds(s[1], 64, 512, 0, fd) == 1)
            R(write(fd[0], "from the child\n", 15));
        _exit(7);
    }
    close(s[1]);
    int p[2];
    MUST(pipe(p));
    MUST(send_fds(s[0], "take this", &p[1], 1));
    close(p[1]);
    char buf[32] = {0};
    reap("child", child);
    R(read(p[0], buf, sizeof buf));
    say("%s", buf);
    R(read(p[0], buf, sizeof buf));
}

/* Sends the writing end of a new pipe, and more descriptors, which it closes; returns the reading end. */
static int send_pipe(int s, int a, int b) {
    int p[2], fds[3];
    MUST(pipe(p));
    fds[0] = p[1];
    fds[1] = a;
    fds[2] = b;
    int count = 1 + (a >= 0) + (b >= 0);
    MUST(send_fds(s, "x", fds, count));
    close(p[1]);
    return p[0];
}

/* Closes a local socket that has nothing to do with the others: the kernel looks for unreachable ones then. */
static void close_another(void) {
    int other = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    close(other);
}

static void say_closed(const char *what, int reader) {
    struct pollfd wait = {reader, POLLIN, 0};
    int n = poll(&wait, 1, 5000);
    say("%s: %d %s\n", what, n, wait.revents & POLLHUP ? "closed" : "open");
}

/* A socket that waits in its own queue is freed when nobody has it, with what waits beside it. */
CASE(unix_rights_to_itself) {
    int s[2];
    int types[] = {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM};
    for (int i = 0; i < 3; i++) {
        MUST(socketpair(AF_UNIX, types[i], 0, s));
        int reader = send_pipe(s[0], s[1], -1);
        say_events("held", poll_now(reader));
        close(s[1]);
        close(s[0]);
        close_another();
        say_closed("then", reader);
    }
}

CASE(unix_rights_in_a_loop) {
    int s[2], t[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, t));
    /* What waits at s[1] holds t[1] and the reverse, each twice. */
    int first = send_pipe(s[0], t[1], t[1]);
    int second = send_pipe(t[0], s[1], s[1]);
    close(s[1]);
    close_another();
    say_events("one is open", poll_now(first));
    close(t[1]);
    close(s[0]);
    close(t[0]);
    close_another();
    say_closed("first", first);
    say_closed("second", second);
}

/* What somebody can still receive is not freed, however many sockets are in between. */
CASE(unix_rights_within_reach) {
    int outer[2], s[2], got[4];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, outer));
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    int reader = send_pipe(s[0], s[1], -1);
    MUST(send_fds(outer[0], "y", &s[1], 1));
    close(s[1]);
    close(s[0]);
    close_another();
    int n = receive_fds(outer[1], 8, 512, MSG_PEEK, got);
    if (n == 1)
        close(got[0]);
    close_another();
    say_events("held", poll_now(reader));
    n = receive_fds(outer[1], 8, 512, 0, got);
    close_another();
    if (n == 1 && receive_fds(got[0], 8, 512, 0, got + 1) == 2) {
        R(write(got[1], "!", 1));
        close(got[2]);
        close(got[1]);
    }
    close(got[0]);
    char c = 0;
    R(read(reader, &c, 1));
    say_closed("then", reader);
}

/* Connections that were not accepted are reached through the listening socket. */
CASE(unix_rights_at_a_listener) {
    struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "\0tyn-abi-rights"};
    socklen_t len = offsetof(struct sockaddr_un, sun_path) + 15;
    int listener = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    MUST(bind(listener, (struct sockaddr *)&a, len));
    MUST(listen(listener, 4));
    int s = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    MUST(connect(s, (struct sockaddr *)&a, len));
    int reader = send_pipe(s, listener, -1);
    close_another();
    say_events("held", poll_now(reader));
    close(listener);
    close(s);
    close_another();
    say_closed("then", reader);
}
