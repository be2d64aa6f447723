/* What the cases of pseudo-terminals share. */
#ifndef PTY_H
#define PTY_H

/* Opens a pair, neither end blocking. */
void pair(int *master, int *slave);
/* Waits a little for something to read. */
void settle(int fd);
/* Writes all that there is to read, and what comes then. */
void show(const char *what, int fd);
/* Writes a text into a descriptor. */
void put(int fd, const char *text);
/* Changes local settings. */
void local(int fd, unsigned off, unsigned on);
/* Writes where a descriptor's link in /proc leads, without the number. */
void say_link(const char *what, int fd);
/* Sets a terminal to raw. */
void raw(int fd);

#endif
