/* SPDX-License-Identifier: MIT */
/*
 * For shell tests: runs SQL on a database, behind Busbar's back.
 *
 *     sql DATABASE STATEMENTS            prints the first column of every row
 *     sql DATABASE STATEMENTS hold       then prints "held", and keeps the connection open until standard input ends
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int print_row(void *ctx, int count, char **values, char **names)
{
    (void)ctx;
    (void)names;
    puts(count > 0 && values[0] != NULL ? values[0] : "");
    return 0;
}

int main(int argc, char **argv)
{
    sqlite3 *db = NULL;
    if (argc < 3) {
        fputs("usage: sql DATABASE STATEMENTS [hold]\n", stderr);
        return EXIT_FAILURE;
    }
    int rc = sqlite3_open(argv[1], &db);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(db, argv[2], print_row, NULL, NULL);
    if (rc != SQLITE_OK)
        fprintf(stderr, "sql: %s\n", sqlite3_errmsg(db));
    if (rc == SQLITE_OK && argc > 3 && strcmp(argv[3], "hold") == 0) {
        puts("held");
        fflush(stdout);
        while (getchar() != EOF) {
        }
    }
    sqlite3_close(db);
    return rc == SQLITE_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
