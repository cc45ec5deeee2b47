/* SPDX-License-Identifier: MIT */
#include "uri.h"

#include <string.h>

/* What a character may be part of. Percent signs are looked at on their own. */
enum {
    ALPHA = 1,       /* begins a scheme */
    DIGIT = 2,       /* a port */
    HEX = 4,         /* behind a percent sign, in an IPv6 address */
    SCHEME = 8,      /* goes on in a scheme */
    NAME = 16,       /* unreserved and sub-delims: everywhere */
    PATH_EXTRA = 32, /* : @ / */
    QUERY_EXTRA = 64 /* ? */
};

static unsigned class_of(char c)
{
    if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))
        return ALPHA | HEX | SCHEME | NAME;
    if ((c >= 'g' && c <= 'z') || (c >= 'G' && c <= 'Z'))
        return ALPHA | SCHEME | NAME;
    if (c >= '0' && c <= '9')
        return DIGIT | HEX | SCHEME | NAME;
    switch (c) {
    case '+':
    case '-':
    case '.':
        return SCHEME | NAME;
    case '_':
    case '~':
    case '!':
    case '$':
    case '&':
    case '\'':
    case '(':
    case ')':
    case '*':
    case ',':
    case ';':
    case '=':
        return NAME;
    case ':':
    case '@':
    case '/':
        return PATH_EXTRA;
    case '?':
        return QUERY_EXTRA;
    default:
        return 0;
    }
}

static bool has_class(char c, unsigned classes)
{
    return (class_of(c) & classes) != 0;
}

static bool all_of(const char *at, const char *end, unsigned classes)
{
    while (at < end && has_class(*at, classes))
        at++;
    return at == end;
}

/* Characters of these classes, or %HH. */
static bool encoded_valid(const char *at, const char *end, unsigned classes)
{
    while (at < end) {
        if (*at == '%') {
            if (end - at < 3 || !has_class(at[1], HEX) || !has_class(at[2], HEX))
                return false;
            at += 3;
        } else if (has_class(*at, classes)) {
            at++;
        } else {
            return false;
        }
    }
    return true;
}

static const char *find(const char *at, const char *end, char c)
{
    const char *found = at < end ? memchr(at, c, (size_t)(end - at)) : NULL;
    return found ? found : end;
}

static const char *find_any(const char *at, const char *end, const char *set)
{
    while (at < end && (*at == '\0' || !strchr(set, *at)))
        at++;
    return at;
}

/* Between the brackets: an IPv6 address, or "v", a version and an address of the future. */
static bool ip_literal_valid(const char *at, const char *end)
{
    if (at < end && (*at == 'v' || *at == 'V')) {
        const char *dot = find(at, end, '.');
        if (dot == end || dot == at + 1 || dot + 1 == end || !all_of(at + 1, dot, HEX))
            return false;
        for (at = dot + 1; at < end; at++) {
            if (*at != ':' && !has_class(*at, NAME))
                return false;
        }
        return true;
    }
    bool colon = find(at, end, ':') != end;
    while (at < end && (has_class(*at, HEX) || *at == ':' || *at == '.'))
        at++;
    return colon && at == end;
}

static bool userinfo_valid(const char *at, const char *end)
{
    for (;;) {
        const char *colon = find(at, end, ':');
        if (!encoded_valid(at, colon, NAME))
            return false;
        if (colon == end)
            return true;
        at = colon + 1;
    }
}

/* [ userinfo "@" ] host [ ":" port ] */
static bool authority_valid(const char *at, const char *end)
{
    const char *sign = find(at, end, '@');
    if (sign != end) {
        if (!userinfo_valid(at, sign))
            return false;
        at = sign + 1;
    }
    const char *port = find(at, end, ':');
    if (at < end && *at == '[') {
        const char *bracket = find(at, end, ']');
        if (bracket == end || !ip_literal_valid(at + 1, bracket))
            return false;
        port = bracket + 1;
    } else if (!encoded_valid(at, port, NAME)) {
        return false;
    }
    return port == end || (*port == ':' && all_of(port + 1, end, DIGIT));
}

static bool scheme_valid(const char *at, const char *end)
{
    return at < end && has_class(*at, ALPHA) && all_of(at, end, SCHEME);
}

static bool reference_valid(const char *text, size_t size_bytes, bool scheme_required)
{
    if (size_bytes == 0)
        return false;
    const char *at = text;
    const char *end = text + size_bytes;
    const char *colon = find_any(at, end, ":/?#");
    if (colon < end && *colon == ':') {
        if (!scheme_valid(at, colon))
            return false;
        at = colon + 1;
    } else if (scheme_required) {
        return false;
    }
    if (end - at >= 2 && at[0] == '/' && at[1] == '/') {
        const char *authority_end = find_any(at + 2, end, "/?#");
        if (!authority_valid(at + 2, authority_end))
            return false;
        at = authority_end;
    }
    const char *query = find_any(at, end, "?#");
    const char *fragment = find(query, end, '#');
    return encoded_valid(at, query, NAME | PATH_EXTRA) &&
           (query == fragment || encoded_valid(query + 1, fragment, NAME | PATH_EXTRA | QUERY_EXTRA)) &&
           (fragment == end || encoded_valid(fragment + 1, end, NAME | PATH_EXTRA | QUERY_EXTRA));
}

bool bb_uri_reference_valid(const char *text, size_t size_bytes)
{
    return reference_valid(text, size_bytes, false);
}

bool bb_uri_valid(const char *text, size_t size_bytes)
{
    return reference_valid(text, size_bytes, true);
}
