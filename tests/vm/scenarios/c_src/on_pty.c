/* A port program that runs a command on a pseudo-terminal: what comes in is typed, what the terminal shows goes out. Ends as the
 * command does. */
#define _GNU_SOURCE
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

/* Moves what there is; returns whether more may come. */
static int move(int from, int to) {
    char buf[4096];
    ssize_t n = read(from, buf, sizeof buf);
    for (ssize_t done = 0, w; done < n; done += w)
        if ((w = write(to, buf + done, (size_t)(n - done))) < 0)
            return 0;
    return n > 0;
}

int main(int argc, char **argv) {
    struct winsize size = {40, 100, 0, 0};
    int master, status;
    if (argc < 2)
        return 2;
    pid_t child = forkpty(&master, 0, 0, &size);
    if (child < 0)
        return 125;
    if (child == 0) {
        execvp(argv[1], argv + 1);
        _exit(127);
    }
    struct pollfd fds[2] = {{STDIN_FILENO, POLLIN, 0}, {master, POLLIN, 0}};
    for (int shown = 1; shown;) {
        if (poll(fds, 2, -1) < 0)
            return 126;
        /* The port is closed: so is the terminal. */
        if (fds[0].revents && !move(STDIN_FILENO, master))
            break;
        if (fds[1].revents)
            shown = move(master, STDOUT_FILENO);
    }
    close(master);
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
