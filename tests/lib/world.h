/* tests/lib/world.h - what many tests need around them: a directory that
 * goes away again, a loop on the test's thread, one io at a time.
 * Each helper stops the program if it cannot do its work: that is no verdict
 * on what is tested.
 *
 *   struct world w;
 *
 *   world_init(&w);
 *   snprintf(path, sizeof path, "%s/lun", w.dir);
 *   …                              loop_self() is w.loop; *_sync() works
 *   world_run_until(&w, &done);    or loop_run_ready(w.loop)
 *   world_fini(&w);
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_TESTS_LIB_WORLD_H
#define LUNAR_TESTS_LIB_WORLD_H

#include "base/loop.h"
#include "base/store.h"

enum {
    WORLD_PATH_BYTES = 256, /* of a path below $TMPDIR */
    WORLD_LIMIT_MS = 60000, /* world_run_until() waits so long */
    WORLD_AIO_DEPTH = 64
};

struct world {
    char dir[WORLD_PATH_BYTES]; /* empty; removed with all it then holds */
    struct loop *loop;          /* adopted: loop_self() on this thread */
    struct clock_manual clock;  /* with world_init_manual_clock() */
};

void world_init(struct world *w);
/* The same with a loop whose timers follow w->clock, which the test moves. */
void world_init_manual_clock(struct world *w);
void world_fini(struct world *w);

/* Run the loop until *flag.  A wait longer than WORLD_LIMIT_MS (by the loop's
 * clock) ends the program with a failure. */
void world_run_until(struct world *w, const bool *flag);

/* A new file of `bytes` (a hole) in w->dir; its path goes to ret_path. */
void world_file(struct world *w, const char *name, uint64_t bytes,
                char ret_path[WORLD_PATH_BYTES]);

/* -- one io, and what became of it ----------------------------------------- */
struct test_io {
    struct store_io io;
    struct iovec iov;
    bool done;
    unsigned done_count; /* the contract says: 1 */
    enum err result;
};
/* Fill and submit; the result comes to t->result, t->done says when.
 * Errors: what store_submit() returned; then t->done stays false. */
MUST_CHECK enum err test_io_submit(struct test_io *t, struct store *s,
                                   enum store_op op, uint64_t off_bytes,
                                   void *buf, uint64_t len_bytes,
                                   uint32_t flags);

/* Bytes that tell where they belong: a function of seed and offset, so that
 * a misplaced or stale block shows. */
void pattern_fill(void *buf, size_t bytes, uint64_t seed, uint64_t off_bytes);
/* The offset of the first byte that differs; `bytes` if none does. */
size_t pattern_check(const void *buf, size_t bytes, uint64_t seed,
                     uint64_t off_bytes);

#endif
