/* SPDX-License-Identifier: MIT */
/* The words of --match and --match-not of busbar relay as a filter. Knows their form, not where they come from. */
#ifndef RELAY_MATCH_H
#define RELAY_MATCH_H

#include "arguments.h"

#include <busbar/busbar.h>

/* Both options together; with three combinations around them, so many fit into a filter. */
#define RELAY_MATCH_MAX 60

/* Zero it first. What matched goes on where it was, so it must not move. */
typedef struct relay_match {
    busbar_filter root;                       /* all of `parts` */
    busbar_filter parts[RELAY_MATCH_MAX + 1]; /* one for each --match, and one for all of --match-not: */
    size_t part_count;
    busbar_filter any; /* not any of `excluded` */
    busbar_filter excluded[RELAY_MATCH_MAX];
    size_t excluded_count;
    char *texts[RELAY_MATCH_MAX]; /* what the names and values point into */
    size_t text_count;
} relay_match;

/* Adds ATTRIBUTE=VALUE. Returns EXIT_DONE, or EXIT_USAGE after reporting what is wrong with it. */
int relay_match_add(relay_match *self, const arguments *args, bool excluded, const char *word);

/* The filter, once all is added; NULL if nothing was. Valid until relay_match_free. */
const busbar_filter *relay_match_filter(relay_match *self);

void relay_match_free(relay_match *self);

#endif
