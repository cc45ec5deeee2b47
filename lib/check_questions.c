/* SPDX-License-Identifier: MIT */
#include "check.h"

const bb_check_question bb_check_pages = {"file", "PRAGMA main.integrity_check(20)",
                                          "restore a backup, or save what can be read with `.recover` of the sqlite3 "
                                          "shell; if only an index is named, REINDEX"};

/* ---- Shapes ---- */

#define REBUILD                                                                                                        \
    "restore a backup, or save the application's tables into a new database; `busbar init` makes Busbar's anew there"

#define SHAPE(table, columns)                                                                                          \
    {                                                                                                                  \
        "schema", "SELECT " columns " FROM main." table " WHERE 0", REBUILD                                            \
    }

#define LOG_COLUMNS "seq, kind, session, at_ms, id, subject, key, ext, ttl_ms, data"
#define RANGES      "begin_normal, begin_urgent, begin_bulk, end_normal, end_urgent, end_bulk"

const bb_check_question bb_check_shapes[] = {
    SHAPE("busbar_meta", "id, schema_version, next_session, next_consumer, watermark_normal, watermark_urgent,"
                         " watermark_bulk, collected"),
    SHAPE("busbar_kind", "id, type, source, datacontenttype, dataschema, redact, ttl_ms, " RANGES),
    SHAPE("busbar_boot", "id, boot"),
    SHAPE("busbar_clock", "boot, mono_ms, wall_ms, quality"),
    SHAPE("busbar_session", "id, token, boot, mono_ms, owner, " RANGES),
    SHAPE("busbar_log_normal", LOG_COLUMNS),
    SHAPE("busbar_log_urgent", LOG_COLUMNS),
    SHAPE("busbar_log_bulk", LOG_COLUMNS),
    SHAPE("busbar_given", "n, id, source, lane, seq"),
    SHAPE("busbar_policy", "lane, seq, retry"),
    SHAPE("busbar_consumer",
          "id, name, class, pattern, busy, owner, owner_boot, claim, claim_boot, claim_until_ms,"
          " last_error, ordering, filter, limit_ms, suspect_lane, suspect_seq,"
          " offline, offline_boot, offline_ms, failed_boot, failed_ms, idle_boot, idle_ms, idle_for_ms"),
    SHAPE("busbar_cursor",
          "consumer, lane, start, cursor, filtered, delivered, dead, expired, evicted, rate_mhz, batch,"
          " dropped, replayed, unmatched, moved_boot, moved_ms"),
    SHAPE("busbar_exception", "n, consumer, lane, state, attempts, due_boot, due_ms, reason, first_boot, first_ms,"
                              " last_boot, last_ms, retry, age_ms, wait_ms, " LOG_COLUMNS),
    SHAPE("busbar_suspect", "consumer, lane, seq, ends"),
    SHAPE("busbar_gap", "n, consumer, lane, reason, first, last, count, token"),
    SHAPE("busbar_later",
          "n, lane, due_boot, due_ms, delay_ms, kind, session, at_ms, id, subject, key, ext, ttl_ms, data"),
    SHAPE("busbar_events", "lane, seq, id, type, source"),
    SHAPE("busbar_progress", "consumer, lane, start, cursor"),
};
const size_t bb_check_shape_count = sizeof bb_check_shapes / sizeof *bb_check_shapes;

/* ---- Rows ---- */

#define LANE(column) "CASE " column " WHEN 1 THEN 'urgent' WHEN 0 THEN 'normal' ELSE 'bulk' END"

/* The newest position of the lane in a column. */
#define HEAD(column)                                                                                                   \
    "coalesce(CASE " column " WHEN 1 THEN (SELECT max(seq) FROM main.busbar_log_urgent)"                               \
    " WHEN 0 THEN (SELECT max(seq) FROM main.busbar_log_normal) ELSE (SELECT max(seq) FROM main.busbar_log_bulk) "     \
    "END, 0)"
#define FIRST(column)                                                                                                  \
    "CASE " column " WHEN 1 THEN (SELECT min(seq) FROM main.busbar_log_urgent)"                                        \
    " WHEN 0 THEN (SELECT min(seq) FROM main.busbar_log_normal) ELSE (SELECT min(seq) FROM main.busbar_log_bulk) END"

#define OF_CURSOR   "'consumer ' || c.name || ', lane ' || " LANE("p.lane")
#define FROM_CURSOR " FROM main.busbar_cursor AS p JOIN main.busbar_consumer AS c ON c.id = p.consumer"
#define COUNT_OPEN                                                                                                     \
    "(SELECT count(*) FROM main.busbar_exception AS e WHERE e.consumer = p.consumer AND e.lane = p.lane AND e.state "  \
    "<> 3)"
#define COUNT_DEAD                                                                                                     \
    "(SELECT count(*) FROM main.busbar_exception AS e WHERE e.consumer = p.consumer AND e.lane = p.lane AND e.state "  \
    "= 3)"

#define OF_EXCEPTION "'the exception of event ' || e.seq || ' of the lane ' || " LANE("e.lane")
#define NO_KIND(t)   t ".kind NOT IN (SELECT id FROM main.busbar_kind)"

#define LOG_QUESTIONS(name)                                                                                            \
    {"log",                                                                                                            \
     "SELECT 'event ' || l.seq || ' of the lane " name " names the kind ' || l.kind || ', which is not stored'"        \
     " FROM main.busbar_log_" name " AS l WHERE " NO_KIND("l"),                                                        \
     "its type is lost: consumers pass it over as unreadable; find out who wrote to Busbar's tables"},                 \
    {                                                                                                                  \
        "log",                                                                                                         \
            "SELECT 'event ' || l.seq || ' of the lane " name " names the session ' || l.session ||"                   \
            " ', which is not stored' FROM main.busbar_log_" name " AS l"                                              \
            " WHERE l.session <> 0 AND l.session NOT IN (SELECT id FROM main.busbar_session)",                         \
            "its id and time are lost: consumers pass it over as unreadable; find out who wrote to Busbar's tables"    \
    }

#define WATERMARK(name)                                                                                                \
    {                                                                                                                  \
        "meta",                                                                                                        \
            "SELECT 'the watermark of the lane " name ", ' || watermark_" name " || ', is beyond its newest event, '"  \
            " || coalesce((SELECT max(seq) FROM main.busbar_log_" name "), 0) FROM main.busbar_meta"                   \
            " WHERE watermark_" name " > coalesce((SELECT max(seq) FROM main.busbar_log_" name "), 0)",                \
            "committed events were lost: the disk does not sync, or rows of the log were deleted"                      \
    }

const bb_check_question bb_check_questions[] = {
    {"schema",
     "WITH wanted (name) AS (VALUES ('busbar_exception_open'), ('busbar_exception_key'), ('busbar_exception_dead'),"
     " ('busbar_later_due'), ('busbar_gap_order'))"
     " SELECT 'the index ' || name || ' is missing' FROM wanted"
     " WHERE name NOT IN (SELECT name FROM main.sqlite_schema WHERE type = 'index')",
     "make it again, with the text that a new database has (`.schema` in the sqlite3 shell)"},
    {"meta",
     "SELECT 'busbar_meta has ' || count(*) || ' rows instead of one' FROM main.busbar_meta HAVING count(*) <> 1",
     REBUILD},
    {"meta",
     "SELECT 'the next consumer would get the number ' || next_consumer || ', which is in use' FROM main.busbar_meta"
     " WHERE next_consumer <= (SELECT max(id) FROM main.busbar_consumer)",
     "set busbar_meta.next_consumer to one more than the highest id of busbar_consumer"},
    WATERMARK("urgent"),
    WATERMARK("normal"),
    WATERMARK("bulk"),
    {"consumer",
     "SELECT 'consumer ' || c.name || ' has ' || (SELECT count(*) FROM main.busbar_cursor AS p WHERE p.consumer = c.id"
     " AND p.lane IN (0, 1, 2)) || ' cursors instead of three' FROM main.busbar_consumer AS c"
     " WHERE (SELECT count(*) FROM main.busbar_cursor AS p WHERE p.consumer = c.id AND p.lane IN (0, 1, 2)) <> 3",
     "remove the consumer (busbar_consumer_remove), and register it again"},
    {"consumer",
     "SELECT 'there is a cursor of the consumer ' || p.consumer || ', which does not exist' FROM main.busbar_cursor AS "
     "p"
     " WHERE p.consumer NOT IN (SELECT id FROM main.busbar_consumer)",
     "delete the row of busbar_cursor: it keeps events from being deleted"},
    {"consumer",
     "SELECT " OF_CURSOR " || ': ' || (p.cursor - p.start + p.replayed) || ' events passed, but '"
     " || (p.filtered + p.delivered + p.dead + p.expired + p.evicted + " COUNT_OPEN
     ") || ' outcomes are counted'" FROM_CURSOR " WHERE p.cursor - p.start + p.replayed <>"
     " p.filtered + p.delivered + p.dead + p.expired + p.evicted + " COUNT_OPEN,
     "events were lost or counted twice: find out who wrote to Busbar's tables; if nobody did, please report it"},
    {"consumer",
     "SELECT " OF_CURSOR " || ': ' || (p.dead - p.dropped) || ' dead letters should be kept, and ' || " COUNT_DEAD
     " || ' are'" FROM_CURSOR " WHERE p.dead - p.dropped <> " COUNT_DEAD,
     "dead letters were lost or counted twice: find out who wrote to Busbar's tables; if nobody did, please report it"},
    {"consumer",
     "SELECT " OF_CURSOR " || ': its cursor, ' || p.cursor || ', is beyond the newest event, ' || " HEAD("p.lane")
         FROM_CURSOR " WHERE p.cursor > " HEAD("p.lane"),
     "committed events were lost: the next ones will be passed over; restore a backup, or remove and register the "
     "consumer"},
    {"consumer",
     "SELECT " OF_CURSOR " || ': the events ' || (p.cursor + 1) || ' to ' || (" FIRST(
         "p.lane") " - 1) ||"
                   " ' are still to come, and are not in the log'" FROM_CURSOR " WHERE p.cursor + 1 < " FIRST("p.lane"),
     "somebody deleted them: its worker will count them as evicted, and tell of the gap"},
    {"consumer",
     "SELECT " OF_CURSOR " || ': a counter is negative, or the cursor is before its start'" FROM_CURSOR
     " WHERE min(p.filtered, p.delivered, p.dead, p.expired, p.evicted, p.dropped, p.replayed, p.unmatched,"
     " p.cursor - p.start) < 0",
     "find out who wrote to Busbar's tables; remove the consumer, and register it again"},
    {"lease",
     "SELECT 'consumer ' || name || ': its lease, or a claim on it, is written in part' FROM main.busbar_consumer"
     " WHERE (owner IS NULL) <> (owner_boot IS NULL) OR (claim IS NULL) <> (claim_boot IS NULL)"
     " OR (claim IS NULL) <> (claim_until_ms IS NULL)",
     "stop its worker, and set owner, owner_boot, claim, claim_boot and claim_until_ms to NULL"},
    {"exception",
     "SELECT " OF_EXCEPTION " || ' is of the consumer ' || e.consumer || ', which does not exist'"
     " FROM main.busbar_exception AS e WHERE e.consumer NOT IN (SELECT id FROM main.busbar_consumer)",
     "delete the row of busbar_exception"},
    {"exception",
     "SELECT 'an exception of event ' || e.seq || ' has the lane ' || e.lane || ' and the state ' || e.state"
     " FROM main.busbar_exception AS e WHERE e.lane NOT IN (0, 1, 2) OR e.state NOT IN (2, 3, 4)",
     "nothing works on it: find out who wrote to Busbar's tables, and delete the row"},
    {"exception",
     "SELECT " OF_EXCEPTION " || ' is beyond the cursor of its consumer' FROM main.busbar_exception AS e"
     " JOIN main.busbar_cursor AS p ON p.consumer = e.consumer AND p.lane = e.lane WHERE e.seq > p.cursor",
     "the event would be handled twice: find out who wrote to Busbar's tables, and delete the row"},
    {"exception",
     "SELECT " OF_EXCEPTION " || ' names the kind ' || e.kind || ', which is not stored'"
     " FROM main.busbar_exception AS e WHERE " NO_KIND("e"),
     "its type is lost: drop it (`busbar drop`)"},
    LOG_QUESTIONS("urgent"),
    LOG_QUESTIONS("normal"),
    LOG_QUESTIONS("bulk"),
    {"log",
     "SELECT 'the scheduled event ' || l.n || ' names a kind or a lane that does not exist' FROM main.busbar_later AS l"
     " WHERE l.lane NOT IN (0, 1, 2) OR " NO_KIND("l"),
     "it cannot be published: delete the row of busbar_later"},
    {"given",
     "SELECT 'the given id ' || quote(g.id) || ' leads to event ' || g.seq || ' of the lane ' || " LANE(
         "g.lane") " ||"
                   " ', which is beyond the newest' FROM main.busbar_given AS g"
                   " WHERE g.lane NOT IN (0, 1, 2) OR g.seq > " HEAD("g.lane"),
     "a new event with this id would be taken for a duplicate: delete the row of busbar_given"},
    {"gap",
     "SELECT 'a gap of the consumer ' || g.consumer || ', ' || g.first || ' to ' || g.last || ', cannot be'"
     " FROM main.busbar_gap AS g WHERE g.consumer NOT IN (SELECT id FROM main.busbar_consumer)"
     " OR g.lane NOT IN (0, 1, 2) OR g.first > g.last OR g.count < 1 OR g.last > " HEAD("g.lane"),
     "delete the row of busbar_gap"},
};
const size_t bb_check_question_count = sizeof bb_check_questions / sizeof *bb_check_questions;
