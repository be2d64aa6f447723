/* Options of sockets that change when something is sent, taken or given up: tcp(7), socket(7). */
#include "abi.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

static void show(const char *what, int fd, int level, int name) {
    int value = -99;
    socklen_t size = sizeof value;
    int result = getsockopt(fd, level, name, &value, &size);
    if (result)
        report(what, result);
    else
        say("%s: %d of %u bytes\n", what, value, size);
}

/* Levels that a socket does not know, with a name that no level has. */
CASE(finer_levels) {
    static const int families[] = {AF_INET, AF_INET6, AF_UNIX}, types[] = {SOCK_STREAM, SOCK_DGRAM};
    static const int levels[] = {0, 6, 17, 41, 58, 132, 136, 255, 270, 1000, -1};
    for (int f = 0; f < 3; f++)
        for (int t = 0; t < 2; t++) {
            int fd = MUST(socket(families[f], types[t], 0));
            for (size_t n = 0; n < sizeof levels / sizeof *levels; n++) {
                say("family %d, type %d, level %d\n", families[f], types[t], levels[n]);
                show("unknown", fd, levels[n], 250);
                int value = 1;
                R(setsockopt(fd, levels[n], 250, &value, sizeof value));
            }
            MUST(close(fd));
        }
}
