/* The network as /proc shows it: proc_pid_net(5). */
#include "abi.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/un.h>

static int inet(int kind, unsigned port, struct sockaddr_in *at) {
    socklen_t len = sizeof *at;
    int fd = MUST(socket(AF_INET, kind, 0));
    *at = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    MUST(bind(fd, (struct sockaddr *)at, len));
    MUST(getsockname(fd, (struct sockaddr *)at, &len));
    return fd;
}

static int inet6(int kind, struct in6_addr address, struct sockaddr_in6 *at) {
    socklen_t len = sizeof *at;
    int fd = MUST(socket(AF_INET6, kind, 0));
    *at = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = address};
    MUST(bind(fd, (struct sockaddr *)at, len));
    MUST(getsockname(fd, (struct sockaddr *)at, &len));
    return fd;
}

static unsigned long inode(int fd) {
    struct stat st;
    MUST(fstat(fd, &st));
    return st.st_ino;
}

/* Writes the header with its length. */
static void header(const char *file) {
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/net/%s", file);
    FILE *f = fopen(path, "r");
    MUST(f && fgets(line, sizeof line, f) ? 0 : -1);
    say("%s: %zu %s", file, strlen(line), line);
    fclose(f);
}

/* Replaces a port by its role. */
static void role(char *line, unsigned port, const char *name) {
    char text[8], *at;
    snprintf(text, sizeof text, ":%04X ", port);
    while ((at = strstr(line, text)))
        memcpy(at, name, 6);
}

/* Writes the line of a socket up to its inode, without its number; `ports` are ours and the peer's. */
static void row(const char *what, const char *file, int fd, const unsigned *ports) {
    char path[64], line[512], wanted[32];
    snprintf(path, sizeof path, "/proc/self/net/%s", file);
    snprintf(wanted, sizeof wanted, " %lu ", inode(fd));
    FILE *f = fopen(path, "r");
    MUST(f ? 0 : -1);
    int found = 0;
    while (fgets(line, sizeof line, f)) {
        char *at = strstr(line, wanted), *colon = strchr(line, ':');
        if (!at || !colon)
            continue;
        found++;
        size_t len = strlen(line);
        *at = 0;
        role(line, ports[0], ":OURS ");
        role(line, ports[1], ":PEER ");
        say("%s in %s:%s, length %zu\n", what, file, colon + 1, strncmp(file + 3, "6", 1) ? len : 0);
    }
    if (!found)
        say("%s in %s: none\n", what, file);
    fclose(f);
}

CASE(netproc_names) {
    char link[64] = "";
    MUST(readlink("/proc/net", link, sizeof link - 1));
    say("%s\n", link);
    struct stat st;
    MUST(stat("/proc/net/", &st));
    say("%o\n", st.st_mode);
    static const char *const files[] = {"dev", "if_inet6", "route", "sockstat", "sockstat6", "tcp", "tcp6", "udp", "udp6", "unix"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/net/%s", files[i]);
        MUST(stat(path, &st));
        say("%s %o %ld\n", files[i], st.st_mode, (long)st.st_size);
    }
    R(access("/proc/net/nothing", F_OK));
}

CASE(netproc_headers) {
    static const char *const files[] = {"dev", "route", "tcp", "tcp6", "udp", "udp6", "unix"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        header(files[i]);
}

CASE(netproc_tcp) {
    struct sockaddr_in at, other;
    socklen_t len = sizeof at;
    int listener = inet(SOCK_STREAM, 0, &at);
    unsigned port = ntohs(at.sin_port), ports[2] = {port, 0};
    row("bound", "tcp", listener, ports);
    MUST(listen(listener, 5));
    row("listening", "tcp", listener, ports);
    int client = MUST(socket(AF_INET, SOCK_STREAM, 0));
    row("fresh", "tcp", client, ports);
    MUST(connect(client, (struct sockaddr *)&at, sizeof at));
    MUST(getsockname(client, (struct sockaddr *)&other, &len));
    row("with one that waits", "tcp", listener, ports);
    int server = MUST(accept(listener, 0, 0));
    unsigned there[2] = {port, ntohs(other.sin_port)}, here[2] = {there[1], port};
    row("none waits", "tcp", listener, ports);
    row("client", "tcp", client, here);
    row("server", "tcp", server, there);
    MUST(send(client, "hello", 5, 0));
    sleep_ms(100);
    row("server with five bytes", "tcp", server, there);
    MUST(shutdown(client, SHUT_WR));
    sleep_ms(100);
    row("server at the end", "tcp", server, there);
    row("client in tcp6", "tcp6", client, here);
    row("client in udp", "udp", client, here);
}

CASE(netproc_tcp6) {
    struct sockaddr_in6 at, other;
    socklen_t len = sizeof at;
    int listener = inet6(SOCK_STREAM, in6addr_any, &at);
    MUST(listen(listener, 5));
    unsigned port = ntohs(at.sin6_port), ports[2] = {port, 0};
    row("listening", "tcp6", listener, ports);
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = at.sin6_port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int client = MUST(socket(AF_INET, SOCK_STREAM, 0));
    MUST(connect(client, (struct sockaddr *)&v4, sizeof v4));
    int server = MUST(accept(listener, (struct sockaddr *)&other, &len));
    unsigned there[2] = {port, ntohs(other.sin6_port)}, here[2] = {there[1], port};
    row("server, mapped", "tcp6", server, there);
    row("server, mapped", "tcp", server, there);
    row("client", "tcp", client, here);
    at.sin6_addr = in6addr_loopback;
    client = MUST(socket(AF_INET6, SOCK_STREAM, 0));
    MUST(connect(client, (struct sockaddr *)&at, sizeof at));
    len = sizeof other;
    MUST(getsockname(client, (struct sockaddr *)&other, &len));
    here[0] = ntohs(other.sin6_port);
    row("client", "tcp6", client, here);
}

CASE(netproc_udp) {
    struct sockaddr_in at, other;
    struct sockaddr_in6 at6;
    int fd = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    unsigned none[2] = {0, 0};
    row("fresh", "udp", fd, none);
    fd = inet(SOCK_DGRAM, 0, &at);
    int peer = inet(SOCK_DGRAM, 0, &other);
    unsigned ports[2] = {ntohs(at.sin_port), 0};
    row("bound", "udp", fd, ports);
    MUST(connect(fd, (struct sockaddr *)&other, sizeof other));
    ports[1] = ntohs(other.sin_port);
    row("connected", "udp", fd, ports);
    (void)peer;
    fd = inet6(SOCK_DGRAM, in6addr_loopback, &at6);
    unsigned ports6[2] = {ntohs(at6.sin6_port), 0};
    row("bound", "udp6", fd, ports6);
    row("bound", "udp", fd, ports6);
}

/* The lines of local sockets, without addresses. */
static void local_row(const char *what, int fd) {
    char line[512], wanted[32];
    snprintf(wanted, sizeof wanted, " %lu", inode(fd));
    FILE *f = fopen("/proc/net/unix", "r");
    while (fgets(line, sizeof line, f)) {
        char *at = strstr(line, wanted);
        if (!at || (at[strlen(wanted)] != ' ' && at[strlen(wanted)] != '\n'))
            continue;
        char *rest = at + strlen(wanted);
        *at = 0;
        while (at > line && at[-1] == ' ')
            *--at = 0;
        say("%s:%s inode%s", what, strchr(line, ':') + 1, rest);
    }
    fclose(f);
}

CASE(netproc_unix) {
    int pair[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    local_row("pair", pair[0]);
    local_row("fresh", MUST(socket(AF_UNIX, SOCK_DGRAM, 0)));
    struct sockaddr_un at = {AF_UNIX, "name"};
    int listener = MUST(socket(AF_UNIX, SOCK_SEQPACKET, 0));
    MUST(bind(listener, (struct sockaddr *)&at, sizeof at));
    local_row("bound", listener);
    MUST(listen(listener, 5));
    local_row("listening", listener);
    int abstract = MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    at = (struct sockaddr_un){AF_UNIX, "\0tyn\0abi"};
    MUST(bind(abstract, (struct sockaddr *)&at, 2 + 8));
    local_row("abstract", abstract);
}

CASE(netproc_devices) {
    unsigned long bytes[2] = {0}, packets[2] = {0};
    struct sockaddr_in at;
    int fd = inet(SOCK_DGRAM, 0, &at);
    for (int i = 0; i < 2; i++) {
        char line[512];
        FILE *f = fopen("/proc/net/dev", "r");
        while (fgets(line, sizeof line, f))
            if (!strncmp(line, "    lo:", 7)) {
                unsigned long v[16];
                int n = 0;
                for (char *p = line + 7; n < 16 && sscanf(p, "%lu", v + n) == 1; n++) {
                    p += strspn(p, " ");
                    p += strspn(p, "0123456789");
                }
                say("lo: %d numbers, the same in and out %d\n", n, v[0] == v[8] && v[1] == v[9]);
                bytes[i] = v[0];
                packets[i] = v[1];
            }
        fclose(f);
        if (i == 0)
            for (int k = 0; k < 10; k++)
                MUST(sendto(fd, line, 500, 0, (struct sockaddr *)&at, sizeof at));
        sleep_ms(20);
    }
    say("counted %d %d\n", packets[1] >= packets[0] + 10, bytes[1] >= bytes[0] + 10 * (500 + 28));
    char line[512];
    FILE *f = fopen("/proc/net/if_inet6", "r");
    while (f && fgets(line, sizeof line, f))
        if (strstr(line, " lo\n"))
            say("%s", line);
}

CASE(netproc_sockstat) {
    char line[256];
    int tcp[2] = {0}, udp6[2] = {0}, used[2] = {0};
    for (int i = 0; i < 2; i++) {
        FILE *f = fopen("/proc/net/sockstat", "r");
        while (fgets(line, sizeof line, f)) {
            sscanf(line, "sockets: used %d", used + i);
            sscanf(line, "TCP: inuse %d", tcp + i);
            if (i == 0)
                say("%.*s\n", (int)strcspn(line, " "), line);
        }
        fclose(f);
        f = fopen("/proc/net/sockstat6", "r");
        while (fgets(line, sizeof line, f)) {
            sscanf(line, "UDP6: inuse %d", udp6 + i);
            if (i == 0)
                say("%.*s\n", (int)strcspn(line, " "), line);
        }
        fclose(f);
        if (i == 0)
            for (int k = 0; k < 3; k++) {
                struct sockaddr_in at;
                struct sockaddr_in6 at6;
                MUST(listen(inet(SOCK_STREAM, 0, &at), 1));
                inet6(SOCK_DGRAM, in6addr_loopback, &at6);
            }
    }
    say("more: %d %d %d\n", used[1] - used[0], tcp[1] - tcp[0], udp6[1] - udp6[0]);
}
