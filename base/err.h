/* base/err.h - the one list of errors, and the reason in words.
 * Codes are for programs, struct diag is for people; neither one prints.
 *
 * A code has one meaning.  It is translated only at the edges: FUSE maps it
 * to an errno (second column), the SCSI engine to sense data.  The list is
 * append-only: its order is the number that crosses the wire.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_BASE_ERR_H
#define LUNAR_BASE_ERR_H

#include "base/base.h"

#include <errno.h>

/* clang-format off */
#define ERR_LIST(X)                                                            \
    /* what the machine or the caller did */                                   \
    X(E_NOMEM,          ENOMEM,       "out of memory")                         \
    X(E_IO,             EIO,          "input/output error")                    \
    X(E_INVAL,          EINVAL,       "invalid argument")                      \
    X(E_RANGE,          EINVAL,       "range lies outside the store")          \
    X(E_ALIGN,          EINVAL,       "not a multiple of the block size")      \
    X(E_UNSUPPORTED,    EOPNOTSUPP,   "not supported here")                    \
    X(E_BUSY,           EBUSY,        "in use")                                \
    X(E_AGAIN,          EAGAIN,       "try again")                             \
    X(E_CANCELED,       ECANCELED,    "canceled")                              \
    X(E_TIMEOUT,        ETIMEDOUT,    "no answer in time")                     \
    X(E_READ_ONLY,      EROFS,        "read-only")                             \
    X(E_TOO_BIG,        EFBIG,        "too large")                             \
    X(E_INTERRUPTED,    EINTR,        "interrupted")                           \
    X(E_ACCESS,         EACCES,       "permission denied")                     \
    X(E_PERM,           EPERM,        "operation not permitted")               \
    /* names */                                                                \
    X(E_NOENT,          ENOENT,       "no such file or directory")             \
    X(E_EXIST,          EEXIST,       "file exists")                           \
    X(E_NOTDIR,         ENOTDIR,      "not a directory")                       \
    X(E_ISDIR,          EISDIR,       "is a directory")                        \
    X(E_NOTEMPTY,       ENOTEMPTY,    "directory not empty")                   \
    X(E_NAME_TOO_LONG,  ENAMETOOLONG, "name too long")                         \
    X(E_LINKS,          EMLINK,       "too many links")                        \
    X(E_CROSS_VOLUME,   EXDEV,        "another volume")                        \
    X(E_STALE,          ESTALE,       "the file is gone")                      \
    X(E_NODATA,         ENODATA,      "no such attribute or data")             \
    X(E_XATTR_SIZE,     ERANGE,       "attribute does not fit the buffer")     \
    X(E_NXIO,           ENXIO,        "no data or hole at this offset")        \
    X(E_DEADLOCK,       EDEADLK,      "locks would wait for each other")       \
    /* LUNs and volumes */                                                     \
    X(E_LUN_GONE,       EIO,          "the LUN does not answer")               \
    X(E_LUN_BUSY,       EBUSY,        "the LUN is used by another host")       \
    X(E_LUN_SMALL,      ENOSPC,       "the LUN is too small")                  \
    X(E_URL,            EINVAL,       "not a LUN URL")                         \
    X(E_NOT_VOLUME,     EINVAL,       "no Lunar volume on this LUN")           \
    X(E_IS_VOLUME,      EEXIST,       "there is a Lunar volume on this LUN")   \
    X(E_VERSION,        EOPNOTSUPP,   "format or protocol version not known")  \
    X(E_CORRUPT,        EIO,          "on-disk structure is damaged")          \
    X(E_CHECKSUM,       EIO,          "checksum does not match")               \
    X(E_VOL_FULL,       ENOSPC,       "no free space on the volume")           \
    X(E_VOL_OFFLINE,    EIO,          "the volume is offline")                 \
    X(E_FENCED,         EIO,          "this host was fenced from the LUN")     \
    X(E_EPOCH,          ESTALE,       "the volume has another coordinator")    \
    X(E_HANDLE_HELD,    EBUSY,        "another owner holds this disk")         \
    X(E_RESERVED,       EIO,          "SCSI reservation conflict")             \
    /* VHD */                                                                  \
    X(E_VHD_FOOTER,     EINVAL,       "no valid VHD footer")                   \
    X(E_VHD_HEADER,     EINVAL,       "no valid VHD dynamic header")           \
    X(E_VHD_BAT,        EIO,          "VHD block table is damaged")            \
    X(E_VHD_PARENT,     ENOENT,       "VHD parent missing or another one")     \
    X(E_VHD_TYPE,       EOPNOTSUPP,   "not a VHD type that is handled here")   \
    /* the far side */                                                         \
    X(E_PROTOCOL,       EPROTO,       "the peer broke the protocol")           \
    X(E_CLOSED,         EPIPE,        "the peer closed the connection")        \
    X(E_NO_QUORUM,      EAGAIN,       "no quorum")                             \
    X(E_CONFIG,         EINVAL,       "configuration error")                   \
    X(E_TRY_LATER,      EAGAIN,       "a layout is being recalled")            \
    X(E_NOLCK,          ENOLCK,       "too many locks")                        \
    X(E_REDIRECT,       EAGAIN,       "hosts take turns with this file")
/* clang-format on */

enum err {
    E_OK,
#define X(code, posix, text) code,
    ERR_LIST(X)
#undef X
        ERR_COUNT
};

/* "E_NOENT".  Never NULL, also for a number that is no code. */
const char *err_name(enum err e);
/* The other way: the code that is called so; E_PROTOCOL: none is. */
enum err err_from_name(const char *name);
/* "no such file or directory".  Never NULL. */
const char *err_text(enum err e);
/* The errno of a code; 0 for E_OK. */
int err_errno(enum err e);
/* The code for an errno of a system call; E_IO if there is none closer. */
enum err err_from_errno(int posix);

/* The reason of a failure, in words that name the thing, the place and the
 * cure: "/dev/sdb: footer at 10485760: checksum 0x1 but 0x2 computed".
 * Caller's memory; every function takes NULL for "do not tell me". */
enum { DIAG_TEXT_BYTES = 512 }; /* one terminal line, paths included */
struct diag {
    char text[DIAG_TEXT_BYTES];
};

/* Record the reason and return e, so that a check reads
 *     return diag_fail(why, E_VHD_FOOTER, "offset %llu: …", …);
 * A later, outer call overwrites; diag_prefix() adds what the outer one knows.
 */
enum err diag_fail(struct diag *why, enum err e, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
/* Put "fmt…: " before the recorded text; returns e. */
enum err diag_prefix(struct diag *why, enum err e, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
/* The same, so that the compiler sees that what comes back is `e`: it else
 * takes "return diag_fail(why, E_NOENT, …)" for a possible success. */
#define diag_fail(why, e, ...)                                                 \
    ({                                                                         \
        enum err diag_e_ = (e);                                                \
        (void)diag_fail((why), diag_e_, __VA_ARGS__);                          \
        diag_e_;                                                               \
    })
#define diag_prefix(why, e, ...)                                               \
    ({                                                                         \
        enum err diag_e_ = (e);                                                \
        (void)diag_prefix((why), diag_e_, __VA_ARGS__);                        \
        diag_e_;                                                               \
    })
/* The recorded reason, or err_text(e) if nothing was recorded. */
const char *diag_text(const struct diag *why, enum err e);

#endif
