/* SPDX-License-Identifier: MIT */
/* Names and sentences of the result codes, from the one list in busbar.h. Knows nothing else. */
#include <busbar/busbar.h>

const char *busbar_error_name(int code)
{
    switch (code) {
    case BUSBAR_OK:
        return "BUSBAR_OK";
    case BUSBAR_DUPLICATE:
        return "BUSBAR_DUPLICATE";
#define NAME_CASE(name, value, text)                                                                                   \
    case BUSBAR_##name:                                                                                                \
        return "BUSBAR_" #name;
        BUSBAR_ERROR_MAP(NAME_CASE)
#undef NAME_CASE
    default:
        return "BUSBAR_UNKNOWN";
    }
}

const char *busbar_error_text(int code)
{
    switch (code) {
    case BUSBAR_OK:
        return "no error";
    case BUSBAR_DUPLICATE:
        return "an event with this source and id exists already";
#define TEXT_CASE(name, value, text)                                                                                   \
    case BUSBAR_##name:                                                                                                \
        return text;
        BUSBAR_ERROR_MAP(TEXT_CASE)
#undef TEXT_CASE
    default:
        return "a code that this version of Busbar does not know";
    }
}
