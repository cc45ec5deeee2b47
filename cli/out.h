/* SPDX-License-Identifier: MIT */
/*
 * Everything that the program prints, and nothing else prints. Results go to stdout, talk goes to stderr. Texts are made
 * safe for a terminal here, whatever they contain; colour and progress appear on a terminal only, and colour not where
 * NO_COLOR is set.
 */
#ifndef OUT_H
#define OUT_H

#include <stdbool.h>
#include <stddef.h>

#define OUT_MESSAGE_SIZE 2048 /* longer talk is cut */

typedef enum out_style { OUT_PLAIN = 0, OUT_BOLD, OUT_GOOD, OUT_WARNING, OUT_BAD } out_style;

/* Looks at where stdout and stderr lead. Comes first. */
void out_begin(void);

/*
 * Sees to it that all results have left the program. Returns `exit_code`, or EXIT_FAILED with a message if they could not
 * be written. A reader that went away early (`busbar list … | head`) is no failure.
 */
int out_end(int exit_code);

/* ---- Results ---- */

/* Bytes as they are: help texts, JSON, and what has been made safe before. */
void out_bytes(const void *bytes, size_t size);
void out_text(const char *text);
/* A line; what the arguments contain is made safe. */
__attribute__((format(printf, 1, 2))) void out_line(const char *format, ...);
/* Text made safe, in a style, padded with spaces to `width` columns. */
void out_cell(const char *text, out_style style, size_t width);
/* The columns that out_cell takes for the text without padding. */
size_t out_width(const char *text);
void out_flush(void);
bool out_is_terminal(void);
/* Nobody reads the results any more; there is no point in going on. */
bool out_is_broken(void);

/* ---- Talk ---- */

/* "busbar: …" on a line of its own. */
__attribute__((format(printf, 1, 2))) void out_error(const char *format, ...);
__attribute__((format(printf, 1, 2))) void out_note(const char *format, ...);

/* Somebody is there to be asked: standard input and standard error are a terminal. */
bool out_can_ask(void);
/* Asks, and waits for a line: true only for "y" or "yes". */
__attribute__((format(printf, 1, 2))) bool out_ask(const char *format, ...);

/* A line that the next one replaces. Does nothing unless stderr is a terminal; cheap to call often. */
__attribute__((format(printf, 1, 2))) void out_progress(const char *format, ...);
bool out_shows_progress(void);
/* Takes the progress line away. */
void out_progress_clear(void);

#endif
