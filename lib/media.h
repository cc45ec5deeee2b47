/* SPDX-License-Identifier: MIT */
/* Media types ("application/json; charset=utf-8"): their grammar, and which of them are JSON. */
#ifndef BB_MEDIA_H
#define BB_MEDIA_H

#include <stdbool.h>

/* type "/" subtype *( OWS ";" OWS [ name "=" ( token / quoted-string ) ] ), in printable UTF-8. */
bool bb_media_type_valid(const char *text);

/* Subtype json or …+json, in any case, with any type and parameters. What follows the first `;` is not looked at. */
bool bb_media_type_is_json(const char *text);

#endif
