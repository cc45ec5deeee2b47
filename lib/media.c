/* SPDX-License-Identifier: MIT */
#include "media.h"

#include <stddef.h>
#include <string.h>

#include "utf8.h"

static bool is_token_char(char c)
{
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
        return true;
    return c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

/* Each skip moves past one thing, or returns NULL where it does not stand. */

static const char *skip_token(const char *at)
{
    if (!at || !is_token_char(*at))
        return NULL;
    while (is_token_char(*at))
        at++;
    return at;
}

static const char *skip_char(const char *at, char c)
{
    return at && *at == c ? at + 1 : NULL;
}

static const char *skip_blank(const char *at)
{
    while (*at == ' ' || *at == '\t')
        at++;
    return at;
}

/* A control character cannot stand in it: the whole text was found printable. */
static const char *skip_quoted(const char *at)
{
    at = skip_char(at, '"');
    while (at && *at != '"') {
        if (*at == '\\')
            at++;
        at = *at != '\0' ? at + 1 : NULL;
    }
    return at ? at + 1 : NULL;
}

static const char *skip_parameter(const char *at)
{
    at = skip_char(skip_token(at), '=');
    return at && *at == '"' ? skip_quoted(at) : skip_token(at);
}

bool bb_media_type_valid(const char *text)
{
    if (!bb_utf8_printable(text, strlen(text)))
        return false;
    const char *at = skip_token(skip_char(skip_token(text), '/'));
    while (at && *at != '\0') {
        at = skip_char(skip_blank(at), ';');
        if (!at)
            return false;
        at = skip_blank(at);
        if (*at != ';' && *at != '\0')
            at = skip_parameter(at);
    }
    return at != NULL;
}

static bool is_json_text(const char *at)
{
    return (at[0] | 0x20) == 'j' && (at[1] | 0x20) == 's' && (at[2] | 0x20) == 'o' && (at[3] | 0x20) == 'n';
}

bool bb_media_type_is_json(const char *text)
{
    const char *subtype = skip_char(skip_token(text), '/');
    const char *end = skip_token(subtype);
    if (!end || end - subtype < 4 || !is_json_text(end - 4))
        return false;
    size_t prefix = (size_t)(end - subtype) - 4;
    if (prefix == 1 || (prefix > 1 && end[-5] != '+'))
        return false;
    return *end == '\0' || *skip_blank(end) == ';';
}
