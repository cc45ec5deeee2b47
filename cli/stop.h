/* SPDX-License-Identifier: MIT */
/* Being asked to end: SIGINT and SIGTERM as something to wait for beside other descriptors. */
#ifndef STOP_H
#define STOP_H

#include <stdbool.h>

/* From here on the signals do not end the program but make the descriptor readable. False, reported, if that fails. */
bool stop_begin(void);

/* The descriptor to poll. */
int stop_fd(void);

/* True once a signal came. After the first one a second one ends the program, however busy it is with ending. */
bool stop_requested(void);

#endif
