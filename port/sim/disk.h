/* SPDX-License-Identifier: MIT */
/* What the parts of the simulated disk share: its files, its record, and how a cut stands in it. */
#ifndef BB_SIM_DISK_H
#define BB_SIM_DISK_H

#include <busbar/sim_disk.h>
#include <sqlite3.h>

#define BB_SIM_NAME_SIZE   64
#define BB_SIM_SECTOR_SIZE 512u

/* ---- Bytes (disk_node.c) ----------------------------------------------------------------------------------------- */

typedef struct bb_sim_bytes {
    unsigned char *data;
    size_t size;
    size_t capacity;
} bb_sim_bytes;

/* Larger: filled with zeroes. False when out of memory; then nothing changed. */
bool bb_sim_bytes_resize(bb_sim_bytes *bytes, size_t size);
bool bb_sim_bytes_write(bb_sim_bytes *bytes, size_t offset, const void *data, size_t size);
bool bb_sim_bytes_copy(bb_sim_bytes *bytes, const bb_sim_bytes *from);
void bb_sim_bytes_free(bb_sim_bytes *bytes);

/* Makes room for one more element of an array. NULL when out of memory; then the array is as before. */
void *bb_sim_grow(void *array, size_t count, size_t *capacity, size_t element_size);

/* ---- Files (disk_node.c) ----------------------------------------------------------------------------------------- */

/* A file, in the directory or not. It stays as long as the record knows of it. */
typedef struct bb_sim_node {
    char name[BB_SIM_NAME_SIZE]; /* empty: a temporary file, which the record does not know */
    uint32_t number;             /* in the disk's list */
    unsigned open_count;
    bool listed; /* in the directory */
    bb_sim_bytes now;

    /* at the beginning of the record */
    bool base_listed;
    bb_sim_bytes base;

    /* as the cut found it: what is certain, and the operations since */
    bool durable_listed;
    bb_sim_bytes durable;
    size_t *pending;
    size_t pending_count;
    size_t pending_capacity;
    bool survives; /* while a cut is made: in the directory of the survivor */
    bool decided;  /* while a cut is made: what happens to this name later is lost */

    /* locks among the connections, and shared memory */
    int lock; /* the highest that one of them has */
    unsigned shared_count;
    void **regions;
    size_t region_count;
    size_t region_capacity;
    unsigned shm_users;
    int shm_locks[SQLITE_SHM_NLOCK]; /* -1: exclusive */
} bb_sim_node;

bb_sim_node *bb_sim_node_new(const char *name);
void bb_sim_node_free(bb_sim_node *node);
void bb_sim_node_free_shm(bb_sim_node *node);

/* ---- The record (disk_log.c) ------------------------------------------------------------------------------------- */

typedef enum bb_sim_op_type {
    BB_SIM_WRITE,
    BB_SIM_TRUNCATE,
    BB_SIM_CREATE,
    BB_SIM_DELETE,
    BB_SIM_SYNC,
    BB_SIM_SYNC_DIRECTORY
} bb_sim_op_type;

typedef struct bb_sim_op {
    bb_sim_op_type type;
    uint32_t node;
    size_t offset; /* WRITE; TRUNCATE: the new size */
    size_t size;
    size_t data; /* WRITE: where its bytes begin in the log's */
} bb_sim_op;

typedef struct bb_sim_log {
    bb_sim_op *ops;
    size_t count;
    size_t capacity;
    bb_sim_bytes data;
} bb_sim_log;

bool bb_sim_log_write(bb_sim_log *log, const bb_sim_node *node, size_t offset, const void *data, size_t size);
/* Any other operation. */
bool bb_sim_log_add(bb_sim_log *log, bb_sim_op_type type, const bb_sim_node *node, size_t offset);
void bb_sim_log_clear(bb_sim_log *log);
void bb_sim_log_free(bb_sim_log *log);

/* ---- The disk (disk.c) ------------------------------------------------------------------------------------------- */

struct busbar_sim_disk {
    sqlite3_vfs vfs;
    char name[40];
    uint64_t random_state;
    bb_sim_node **nodes;
    size_t node_count;
    size_t node_capacity;
    unsigned open_files;
    bb_sim_log log;

    /* how far the cut has come in the record (disk_cut.c) */
    busbar_sim_disk_model model;
    bool cut_begun;
    uint64_t cut_op;
    size_t *cut_directory; /* operations on the directory since its last sync */
    size_t cut_directory_count;
    size_t cut_directory_capacity;

    unsigned lies;
    unsigned fail_calls;
    uint64_t fail_nth;
    uint64_t fail_count;
    int fail_code;
    uint64_t calls;
    uint64_t failures;
};

bb_sim_node *bb_sim_disk_find(const busbar_sim_disk *disk, const char *name);
/* A new one at the end of the list, not in the directory yet. NULL when out of memory. */
bb_sim_node *bb_sim_disk_add(busbar_sim_disk *disk, const char *name);
/* Forgets every file and the record. No file may be open. */
void bb_sim_disk_clear(busbar_sim_disk *disk);
/* Counts the call. The code with which it is to fail, or SQLITE_OK. */
int bb_sim_disk_failure(busbar_sim_disk *disk, unsigned call);
/* SplitMix64. */
uint64_t bb_sim_disk_random(uint64_t *state);

/* ---- Open files (disk_file.c) ------------------------------------------------------------------------------------ */

typedef struct bb_sim_file {
    sqlite3_file base;
    busbar_sim_disk *disk;
    bb_sim_node *node;
    unsigned kind; /* BUSBAR_SIM_DISK_LIE_… */
    int lock;
    bool directory_due; /* its next sync is one of the directory too */
    bool shm_open;
    unsigned shm_shared; /* masks of locks */
    unsigned shm_exclusive;
} bb_sim_file;

extern const sqlite3_io_methods bb_sim_file_methods;

#endif
