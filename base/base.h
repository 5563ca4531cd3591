/* base/base.h - what every other folder stands on: words, checks, seams.
 *
 *   base.h      macros: checks, ownership, ranges      (this file)
 *   err.h       the one list of errors; struct diag, the reason in words
 *   endian.h    be32, le64 …: on-disk and on-wire integers are types
 *   list.h      intrusive list          buf.h   growing text or bytes
 *   loop.h      reactors: tasks, timers, fds, pollers, libaio completions
 *   worker.h    threads for system calls that block (fallocate, open …)
 *   log.h       one line per event, for people      trace.h  for machines
 *   keep.h      descriptors that outlive the process
 *   jsonfile.h  small state in a file   jsontext.h  strings of any bytes
 *
 *   The three seams, and nothing else reaches the outside world:
 *   store.h     bytes: a LUN, a file, a VHD, memory; decorators stack on it
 *   clock.h     time                    transport.h  messages between hosts
 *
 *   transport_tls.h  those of real hosts, over TCP: has a map of its own
 *   cluster_key.h    the secret of a cluster     tls.h  TLS 1.3 with it
 *   address.h        addresses with ports
 *
 * Start reading at store.h, then loop.h.  docs/architecture.md has the rest.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_BASE_BASE_H
#define LUNAR_BASE_BASE_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define MUST_CHECK        __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))
#define NORETURN          __attribute__((noreturn))
#define ARRAY_LEN(a)      (sizeof(a) / sizeof((a)[0]))

/* Lexical clean-up: AUTO(xfreep) struct x *p = …; TAKE(p) lets it go. */
#define AUTO(dtor) __attribute__((cleanup(dtor)))
#define TAKE(p)                                                                \
    ({                                                                         \
        __typeof__(p) taken_ = (p);                                            \
        (p) = NULL;                                                            \
        taken_;                                                                \
    })

#define container_of(ptr, type, member)                                        \
    ((type *)(void *)(((char *)(ptr)) - offsetof(type, member)))

/* ASSERT stays in release builds: stop rather than corrupt.  It guards our
 * own logic; bytes from a disk, a wire or a guest get a *_check() instead. */
#define ASSERT(cond)                                                           \
    do {                                                                       \
        if (__builtin_expect(!(cond), 0))                                      \
            assert_fail(#cond, __FILE__, __LINE__);                            \
    } while (0)
#ifdef LUNAR_DEBUG
#    define DEBUG_ASSERT(cond) ASSERT(cond)
#else
#    define DEBUG_ASSERT(cond) ((void)sizeof(cond))
#endif

/* Print the condition and the last trace lines, then abort. */
NORETURN void assert_fail(const char *cond, const char *file, int line);

/* Free what a cleanup attribute points at: AUTO(freep) char *s = …; */
static inline void freep(void *p)
{
    free(*(void **)p);
}

/* True if [first, first+count) lies inside [0, limit).  The only spelling of
 * a range check: first + count is never written bare. */
static inline bool range_ok(uint64_t first, uint64_t count, uint64_t limit)
{
    uint64_t end;

    return !__builtin_add_overflow(first, count, &end) && end <= limit;
}

/* Round to a multiple of a power of two. */
static inline uint64_t align_down(uint64_t n, uint64_t to)
{
    return n & ~(to - 1);
}

static inline uint64_t align_up(uint64_t n, uint64_t to)
{
    return align_down(n + to - 1, to);
}

static inline bool is_aligned(uint64_t n, uint64_t to)
{
    return (n & (to - 1)) == 0;
}

static inline bool is_power_of_two(uint64_t n)
{
    return n && (n & (n - 1)) == 0;
}

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static inline uint64_t div_round_up(uint64_t n, uint64_t by)
{
    return n / by + (n % by != 0);
}

#endif
