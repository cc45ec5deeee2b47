/* SPDX-License-Identifier: MIT */
/*
 * What the fields of an event, and the names of consumers, may hold. Each check returns BUSBAR_OK or the one code it names,
 * also for NULL. Pure; knows nothing of storage or of JSON.
 */
#ifndef BB_ATTRIBUTE_H
#define BB_ATTRIBUTE_H

#include <stdbool.h>

#include <busbar/busbar.h>

/* BUSBAR_ETYPE. 1..BUSBAR_TYPE_MAX bytes of printable UTF-8; no space, none of * # +, no empty segment between dots. */
int bb_attribute_type_check(const char *type);

/* BUSBAR_ESOURCE. A URI-reference of RFC 3986, absolute or relative, not empty, at most BUSBAR_SOURCE_MAX bytes. */
int bb_attribute_source_check(const char *source);

/* BUSBAR_EID, BUSBAR_ESUBJECT, BUSBAR_EKEY. Printable UTF-8, not empty, within the limit. */
int bb_attribute_id_check(const char *id);
int bb_attribute_subject_check(const char *subject);
int bb_attribute_key_check(const char *key);

/* BUSBAR_ECONTENTTYPE. A media type: type/subtype and parameters, at most BUSBAR_CONTENT_TYPE_MAX bytes. */
int bb_attribute_content_type_check(const char *datacontenttype);

/* BUSBAR_EDATASCHEMA. A URI with a scheme, at most BUSBAR_SCHEMA_URI_MAX bytes. A fragment is allowed: schemas have them. */
int bb_attribute_dataschema_check(const char *dataschema);

/* BUSBAR_ETIME. A timestamp of RFC 3339, at most BUSBAR_TIME_MAX bytes. */
int bb_attribute_time_check(const char *time);

/*
 * BUSBAR_EEXTENSION. The name is 1..BUSBAR_EXTENSION_NAME_MAX of a-z and 0-9 and not the name of a core attribute, nor
 * `data`, nor `partitionkey` (which is busbar_event.key); a string value is printable UTF-8 of at most
 * BUSBAR_EXTENSION_VALUE_MAX bytes and may be empty.
 */
int bb_attribute_extension_check(const busbar_attribute *attribute);

/* BUSBAR_ENAME. A consumer's name. */
int bb_attribute_name_check(const char *name);

/* Is data of this media type JSON: any type with subtype json or …+json, parameters ignored? NULL is. */
bool bb_attribute_is_json(const char *datacontenttype);

#endif
