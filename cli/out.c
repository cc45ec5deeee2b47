/* SPDX-License-Identifier: MIT */
#define _POSIX_C_SOURCE 200809L

#include "out.h"

#include "command.h"
#include "escape.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PROGRESS_EVERY_MS 100

static struct {
    bool result_terminal;
    bool result_colour;
    bool talk_terminal;
    bool talk_colour;
    bool progress_shown;
    int64_t progress_ms; /* when it was last written */
    int write_errno;     /* of the first failed write to stdout; 0: none */
} state;

static const char *const styles[] = {
    [OUT_PLAIN] = "",           [OUT_BOLD] = "\033[1m", [OUT_GOOD] = "\033[32m",
    [OUT_WARNING] = "\033[33m", [OUT_BAD] = "\033[31m",
};

void out_begin(void)
{
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");
    bool colour = (no_color == NULL || no_color[0] == '\0') && (term == NULL || strcmp(term, "dumb") != 0);
    state.result_terminal = isatty(STDOUT_FILENO) == 1;
    state.result_colour = state.result_terminal && colour;
    state.talk_terminal = isatty(STDERR_FILENO) == 1;
    state.talk_colour = state.talk_terminal && colour;
}

int out_end(int exit_code)
{
    out_progress_clear();
    out_flush();
    if (state.write_errno == 0 || state.write_errno == EPIPE)
        return exit_code;
    out_error("cannot write the results to standard output: %s", strerror(state.write_errno));
    return EXIT_FAILED;
}

/* ---- Results --------------------------------------------------------------------------------------------------------- */

static void note_failure(bool failed)
{
    if (failed && state.write_errno == 0)
        state.write_errno = errno != 0 ? errno : EIO;
}

void out_bytes(const void *bytes, size_t size)
{
    if (state.progress_shown && state.result_terminal)
        out_progress_clear();
    if (state.write_errno == 0 && size > 0)
        note_failure(fwrite(bytes, 1, size, stdout) != size);
}

void out_text(const char *text)
{
    out_bytes(text, strlen(text));
}

void out_flush(void)
{
    if (state.write_errno == 0)
        note_failure(fflush(stdout) != 0);
}

void out_line(const char *format, ...)
{
    buffer raw = {0};
    buffer safe = {0};
    va_list values;
    va_start(values, format);
    buffer_add_format(&raw, format, values);
    va_end(values);
    escape_add(&safe, raw.bytes, raw.size);
    buffer_add_text(&safe, "\n");
    out_bytes(safe.bytes, safe.size);
    buffer_free(&raw);
    buffer_free(&safe);
}

/* The characters of a text that was made safe. Wide ones count as one. */
static size_t count_characters(const char *text, size_t size)
{
    size_t count = 0;
    for (size_t i = 0; i < size; i++)
        count += ((unsigned char)text[i] & 0xc0u) != 0x80u;
    return count;
}

size_t out_width(const char *text)
{
    buffer safe = {0};
    escape_add(&safe, text, strlen(text));
    size_t width = count_characters(safe.bytes, safe.size);
    buffer_free(&safe);
    return width;
}

void out_cell(const char *text, out_style style, size_t width)
{
    bool styled = state.result_colour && style != OUT_PLAIN;
    buffer cell = {0};
    buffer_add_text(&cell, styled ? styles[style] : "");
    size_t prefix = cell.size;
    escape_add(&cell, text, strlen(text));
    size_t used = cell.size > prefix ? count_characters(cell.bytes + prefix, cell.size - prefix) : 0;
    buffer_add_text(&cell, styled ? "\033[0m" : "");
    for (; used < width; used++)
        buffer_add_text(&cell, " ");
    out_bytes(cell.bytes, cell.size);
    buffer_free(&cell);
}

bool out_is_terminal(void)
{
    return state.result_terminal;
}

bool out_is_broken(void)
{
    return state.write_errno != 0;
}

/* ---- Talk ------------------------------------------------------------------------------------------------------------ */

/* Talk never allocates: it must work when memory has run out. */
static void write_safely(const char *text)
{
    for (size_t left = strlen(text); left > 0;) {
        unsigned code;
        size_t length = utf8_read(text, left, &code);
        if (length == 0)
            fprintf(stderr, "\\x%02x", (unsigned)(unsigned char)text[0]);
        else if (escape_needed(code))
            fprintf(stderr, code < 0x80 ? "\\x%02x" : "\\u%04x", code);
        else
            fwrite(text, 1, length, stderr);
        text += length > 0 ? length : 1;
        left -= length > 0 ? length : 1;
    }
}

__attribute__((format(printf, 2, 0))) static void say(out_style style, const char *format, va_list values)
{
    char text[OUT_MESSAGE_SIZE];
    vsnprintf(text, sizeof text, format, values);
    out_progress_clear();
    out_flush();
    bool styled = state.talk_colour && style != OUT_PLAIN;
    fprintf(stderr, "%sbusbar:%s ", styled ? styles[style] : "", styled ? "\033[0m" : "");
    write_safely(text);
    fputc('\n', stderr);
}

void out_error(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    say(OUT_BAD, format, values);
    va_end(values);
}

void out_note(const char *format, ...)
{
    va_list values;
    va_start(values, format);
    say(OUT_PLAIN, format, values);
    va_end(values);
}

bool out_can_ask(void)
{
    return state.talk_terminal && isatty(STDIN_FILENO) == 1;
}

bool out_ask(const char *format, ...)
{
    char text[OUT_MESSAGE_SIZE];
    char answer[8] = "";
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    out_progress_clear();
    out_flush();
    write_safely(text);
    if (fgets(answer, sizeof answer, stdin) == NULL)
        fputc('\n', stderr);
    answer[strcspn(answer, "\n")] = '\0';
    return strcmp(answer, "y") == 0 || strcmp(answer, "yes") == 0;
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void out_progress(const char *format, ...)
{
    if (!state.talk_terminal || (state.progress_shown && now_ms() - state.progress_ms < PROGRESS_EVERY_MS))
        return;
    char text[OUT_MESSAGE_SIZE];
    va_list values;
    va_start(values, format);
    vsnprintf(text, sizeof text, format, values);
    va_end(values);
    fputc('\r', stderr);
    write_safely(text);
    fputs("\033[K", stderr);
    state.progress_shown = true;
    state.progress_ms = now_ms();
}

bool out_shows_progress(void)
{
    return state.talk_terminal;
}

void out_progress_clear(void)
{
    if (!state.progress_shown)
        return;
    fputs("\r\033[K", stderr);
    state.progress_shown = false;
}
