/* What the cases of sessions and their terminals share. */
#ifndef SESSION_H
#define SESSION_H

/* The pair of `in_session`. */
extern int master, slave;
/* Runs a function in a session without a terminal, in which `master` and `slave` are open. */
void in_session(const char *who, void (*run)(void));
/* The slave's name. */
const char *name(void);
/* The terminal as /proc shows it: whether it is the slave, and whether the foreground is our group. */
void say_stat(const char *what);
/* How often each signal came, after `note_all`. */
extern volatile int got[65];
void note_all(void);
void say_got(const char *what);

#endif
