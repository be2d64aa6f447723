/* unix(7). */
#include "abi.h"

#include <sys/ioctl.h>
#include <sys/un.h>

static socklen_t name_of(struct sockaddr_un *a, const char *name) {
    memset(a, 0, sizeof *a);
    a->sun_family = AF_UNIX;
    if (*name == '@') {
        memcpy(a->sun_path + 1, name + 1, strlen(name) - 1);
        return offsetof(struct sockaddr_un, sun_path) + strlen(name);
    }
    strcpy(a->sun_path, name);
    return sizeof *a;
}

static int call_named(int (*call)(int, const struct sockaddr *, socklen_t), int fd,
                      const char *name) {
    struct sockaddr_un a;
    socklen_t len = name_of(&a, name);
    return call(fd, (struct sockaddr *)&a, len);
}

static int bind_to(int fd, const char *name) {
    return call_named(bind, fd, name);
}

static int connect_to(int fd, const char *name) {
    return call_named(connect, fd, name);
}

static void say_name(const char *what, int (*call)(int, struct sockaddr *, socklen_t *), int fd) {
    struct sockaddr_un a;
    memset(&a, 'x', sizeof a);
    socklen_t len = sizeof a;
    if (call(fd, (struct sockaddr *)&a, &len) == -1) {
        say("%s: %s\n", what, strerrorname_np(errno));
        return;
    }
    char path[120] = {0};
    for (unsigned i = 2; i < len && i < sizeof a; i++)
        path[i - 2] = ((char *)&a)[i] ? ((char *)&a)[i] : (i == 2 ? '@' : '0');
    say("%s: family %d, length %u, \"%s\"\n", what, a.sun_family, len, path);
}

CASE(unix_pair_stream) {
    int s[2];
    char buf[32] = {0};
    R(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    say_events("fresh", poll_now(s[0]));
    R(write(s[0], "hello ", 6));
    R(send(s[0], "world", 5, 0));
    int unread;
    R(ioctl(s[1], FIONREAD, &unread));
    say("unread %d\n", unread);
    R(recv(s[1], buf, 8, MSG_PEEK));
    R(recv(s[1], buf, sizeof buf, 0));
    say("%s\n", buf);
    R(recv(s[1], buf, sizeof buf, MSG_DONTWAIT));
    R(write(s[1], "back", 4));
    R(close(s[1]));
    say_events("peer gone", poll_now(s[0]));
    R(read(s[0], buf, 2));
    R(read(s[0], buf, 8));
    R(read(s[0], buf, 8));
    R(send(s[0], "x", 1, MSG_NOSIGNAL));
    say_name("name", getsockname, s[0]);
    say_name("peer", getpeername, s[0]);
}

CASE(unix_pair_errors) {
    int s[2];
    R(socketpair(AF_UNIX, 77, 0, s));
    R(socketpair(AF_UNIX, SOCK_STREAM, 5, s));
    R(socketpair(AF_INET, SOCK_STREAM, 0, s));
    R(socketpair(AF_UNIX, SOCK_STREAM | 0x40000000, 0, s));
    R(socket(AF_UNIX, SOCK_RDM, 0));
    R(socket(AF_UNIX, 12, 0));
    R(socket(200, SOCK_STREAM, 0));
    R(syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, (void *)8));
    R(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, s));
    say("descriptors %d %d, flags %d %d\n", s[0], s[1], fcntl(s[0], F_GETFD), fcntl(s[1], F_GETFL));
    char c;
    R(recv(s[0], &c, 1, 0));
    R(lseek(s[0], 0, SEEK_SET));
    R(pread(s[0], &c, 1, 0));
    R(recv(0, &c, 1, 0));
    R(recv(-1, &c, 1, 0));
}

CASE(unix_close_with_unread) {
    int s[2];
    char buf[8];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    MUST(write(s[0], "lost", 4));
    MUST(write(s[1], "kept", 4));
    close(s[1]);
    say_events("peer gone", poll_now(s[0]));
    R(read(s[0], buf, 8));
    R(read(s[0], buf, 8));
    R(read(s[0], buf, 8));
}

CASE(unix_shutdown) {
    int s[2];
    char buf[8];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    signal(SIGPIPE, SIG_IGN);
    MUST(write(s[0], "last", 4));
    R(shutdown(s[0], SHUT_WR));
    R(write(s[0], "x", 1));
    say_events("half closed, here", poll_now(s[0]));
    say_events("half closed, there", poll_now(s[1]));
    R(read(s[1], buf, 8));
    R(read(s[1], buf, 8));
    R(write(s[1], "answer", 6));
    R(read(s[0], buf, 8));
    R(shutdown(s[0], SHUT_RD));
    R(write(s[1], "x", 1));
    say_events("closed, here", poll_now(s[0]));
    say_events("closed, there", poll_now(s[1]));
    R(shutdown(s[0], 3));
    R(shutdown(0, SHUT_RD));
}

CASE(unix_packets) {
    int s[2], got[4];
    char buf[16];
    R(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s));
    R(send(s[0], "hello", 5, 0));
    R(send(s[0], "", 0, 0));
    int fd = 0;
    R(send_fds(s[0], "fd", &fd, 1));
    R(recv(s[1], buf, 2, MSG_PEEK));
    R(recv(s[1], buf, 2, MSG_TRUNC));
    R(recv(s[1], buf, 8, 0));
    receive_fds(s[1], 1, 512, 0, got);
    R(recv(s[1], buf, 8, MSG_DONTWAIT));
    close(s[0]);
    R(recv(s[1], buf, 8, 0));
    R(send(s[1], "x", 1, MSG_NOSIGNAL));
    say_events("peer gone", poll_now(s[1]));
}

CASE(unix_datagrams) {
    int a = MUST(socket(AF_UNIX, SOCK_DGRAM, 0)), b = MUST(socket(AF_UNIX, SOCK_DGRAM, 0));
    char buf[16] = {0};
    R(bind_to(a, "@tyn-abi-a"));
    R(bind_to(b, "@tyn-abi-b"));
    R(send(a, "x", 1, 0));
    R(connect_to(a, "@tyn-abi-b"));
    R(send(a, "one", 3, 0));
    R(send(a, "", 0, 0));
    struct sockaddr_un from;
    socklen_t len = sizeof from;
    R(recvfrom(b, buf, 2, 0, (struct sockaddr *)&from, &len));
    say("from %u \"%.9s\"\n", len, from.sun_path + 1);
    R(recv(b, buf, 8, 0));
    R(recv(b, buf, 8, MSG_DONTWAIT));
    say_name("peer", getpeername, a);
    int count = 0;
    while (send(a, "x", 1, MSG_DONTWAIT) == 1)
        count++;
    say("queued %d, then %s\n", count, strerrorname_np(errno));
    say_events("sender", poll_now(a));
    R(recv(b, buf, 8, 0));
    say_events("sender", poll_now(a));
    close(b);
    R(send(a, "x", 1, 0));
    R(connect_to(a, "@tyn-abi-b"));
    R(listen(a, 1));
    R(accept(a, 0, 0));
    int s[2];
    R(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
    R(write(s[0], "pair", 4));
    R(read(s[1], buf, 8));
}

CASE(unix_names) {
    int a = MUST(socket(AF_UNIX, SOCK_STREAM, 0)), b = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    struct stat st;
    say_name("unbound", getsockname, a);
    say_name("no peer", getpeername, a);
    R(listen(a, 1));
    R(bind_to(a, "sock"));
    say_name("bound", getsockname, a);
    R(bind_to(a, "other"));
    R(bind_to(b, "sock"));
    R(stat("sock", &st));
    say("mode %o\n", st.st_mode);
    R(open("sock", O_RDWR));
    R(connect_to(b, "sock"));
    R(connect_to(b, "missing"));
    R(connect_to(b, "missing/sock"));
    R(connect_to(b, "@tyn-abi-missing"));
    R(listen(a, 1));
    R(connect_to(b, "sock"));
    R(connect_to(b, "sock"));
    say_name("peer", getpeername, b);
    R(unlink("sock"));
    int c = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    R(connect_to(c, "sock"));
    close(a);
    int file = MUST(open("file", O_CREAT | O_RDWR, 0600));
    close(file);
    R(connect_to(c, "file"));
    R(bind_to(c, "file"));
    struct sockaddr_un any = {.sun_family = AF_UNIX};
    R(bind(c, (struct sockaddr *)&any, sizeof(sa_family_t)));
    struct sockaddr_un got;
    socklen_t len = sizeof got;
    R(getsockname(c, (struct sockaddr *)&got, &len));
    say("length %u\n", len);
    any.sun_family = AF_INET;
    R(bind(b, (struct sockaddr *)&any, sizeof any));
    R(connect(c, (struct sockaddr *)&any, sizeof any));
}

CASE(unix_accept) {
    int l = MUST(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0)), c[4];
    R(bind_to(l, "@tyn-abi-listen"));
    R(accept(l, 0, 0));
    R(listen(l, 1));
    R(accept(l, 0, 0));
    say_events("idle", poll_now(l));
    for (int i = 0; i < 3; i++) {
        c[i] = MUST(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
        say_events("client", poll_now(c[i]));
        R(connect_to(c[i], "@tyn-abi-listen"));
    }
    say_events("waiting", poll_now(l));
    R(send(c[0], "early", 5, 0));
    struct sockaddr_un peer;
    socklen_t len = sizeof peer;
    int s = accept4(l, (struct sockaddr *)&peer, &len, SOCK_CLOEXEC);
    say("accepted %d, peer length %u, flags %d %d\n", s > 0, len, fcntl(s, F_GETFD),
        fcntl(s, F_GETFL));
    say_name("accepted", getsockname, s);
    say_name("client", getpeername, c[0]);
    char buf[8] = {0};
    R(read(s, buf, 8));
    struct ucred who;
    len = sizeof who;
    R(getsockopt(s, SOL_SOCKET, SO_PEERCRED, &who, &len));
    say("peer is this process: %d\n", who.pid == getpid());
    R(connect_to(c[2], "@tyn-abi-listen"));
    /* Those that were not accepted are reset. */
    close(l);
    say_events("refused", poll_now(c[1]));
    R(read(c[1], buf, 8));
    R(read(c[1], buf, 8));
    R(accept4(s, 0, 0, 0));
    R(accept4(s, 0, 0, 1));
    int w = MUST(socket(AF_UNIX, SOCK_SEQPACKET, 0));
    R(connect_to(w, "@tyn-abi-listen"));
}

/* A client that must wait for room in the backlog. */
CASE(unix_connect_blocks) {
    int l = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    MUST(bind_to(l, "@tyn-abi-full"));
    MUST(listen(l, 0));
    pid_t child = MUST(fork());
    if (child == 0) {
        for (int i = 0; i < 5; i++) {
            int c = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
            MUST(connect_to(c, "@tyn-abi-full"));
            MUST(write(c, "x", 1));
        }
        _exit(0);
    }
    for (int i = 0; i < 5; i++) {
        int s = MUST(accept(l, 0, 0));
        char b;
        R(read(s, &b, 1));
        sleep_ms(5);
    }
    reap("client", child);
}

CASE(unix_options) {
    int s[2], value = 0;
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    static const struct {
        int name;
        const char *text;
    } options[] = {{SO_TYPE, "TYPE"},           {SO_DOMAIN, "DOMAIN"},     {SO_PROTOCOL, "PROTOCOL"},
                   {SO_ERROR, "ERROR"},         {SO_ACCEPTCONN, "ACCEPTCONN"},
                   {SO_SNDBUF, "SNDBUF"},       {SO_RCVBUF, "RCVBUF"},     {SO_REUSEADDR, "REUSEADDR"},
                   {SO_KEEPALIVE, "KEEPALIVE"}, {SO_RCVLOWAT, "RCVLOWAT"}};
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        socklen_t len = sizeof value;
        int r = getsockopt(s[0], SOL_SOCKET, options[i].name, &value, &len);
        say("%s: %d %d %u\n", options[i].text, r, value, len);
    }
    value = 1;
    R(setsockopt(s[0], SOL_SOCKET, SO_REUSEADDR, &value, sizeof value));
    R(setsockopt(s[0], SOL_SOCKET, SO_REUSEADDR, &value, 2));
    R(setsockopt(s[0], SOL_SOCKET, 999, &value, sizeof value));
    R(setsockopt(s[0], 6, 1, &value, sizeof value));
    value = 30000;
    R(setsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &value, sizeof value));
    socklen_t len = sizeof value;
    R(getsockopt(s[0], SOL_SOCKET, SO_SNDBUF, &value, &len));
    say("send buffer %d\n", value);
    len = 2;
    R(getsockopt(s[0], SOL_SOCKET, SO_TYPE, &value, &len));
    say("length %u\n", len);
    struct timeval t = {0, 20000};
    R(setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t));
    char c;
    R(recv(s[0], &c, 1, 0));
    t.tv_usec = 1000000;
    R(setsockopt(s[0], SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t));
}

/* A sender that must wait, in the middle of one call. */
CASE(unix_blocking_send) {
    int s[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, s));
    pid_t child = MUST(fork());
    if (child == 0) {
        close(s[1]);
        static char data[1000000];
        for (size_t i = 0; i < sizeof data; i++)
            data[i] = i % 253;
        _exit(send(s[0], data, sizeof data, 0) == sizeof data ? 0 : 1);
    }
    close(s[0]);
    static char buf[9000];
    size_t total = 0, wrong = 0;
    ssize_t n;
    while ((n = recv(s[1], buf, sizeof buf, MSG_WAITALL)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            wrong += buf[i] != (char)((total + i) % 253);
        total += n;
    }
    say("read %zu, wrong %zu, last %zd\n", total, wrong, n);
    reap("sender", child);
}

CASE(unix_mmsg) {
    int s[2];
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, s));
    struct iovec out[3] = {{"one", 3}, {"two!", 4}, {"", 0}};
    struct mmsghdr m[3];
    memset(m, 0, sizeof m);
    for (int i = 0; i < 3; i++) {
        m[i].msg_hdr.msg_iov = &out[i];
        m[i].msg_hdr.msg_iovlen = 1;
    }
    R(sendmmsg(s[0], m, 3, 0));
    say("%u %u %u\n", m[0].msg_len, m[1].msg_len, m[2].msg_len);
    char buf[4][8] = {{0}};
    struct iovec in[4];
    struct mmsghdr r[4];
    memset(r, 0, sizeof r);
    for (int i = 0; i < 4; i++) {
        in[i] = (struct iovec){buf[i], 3};
        r[i].msg_hdr.msg_iov = &in[i];
        r[i].msg_hdr.msg_iovlen = 1;
    }
    R(recvmmsg(s[1], r, 4, MSG_WAITFORONE, 0));
    for (int i = 0; i < 3; i++)
        say("%u %#x \"%.3s\"\n", r[i].msg_len, r[i].msg_hdr.msg_flags, buf[i]);
    R(recvmmsg(s[1], r, 4, MSG_DONTWAIT, 0));
}
