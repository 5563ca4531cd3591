/* lockmgr/member_wire.h - the messages of membership, as bytes and as structs.
 * Knows how they look; what they mean is member_core.c's.
 *
 * All integers are little-endian.  Header, 40 bytes:
 *
 *   0  "LNMB"     4  version u8   5  type u8   6  flags u16 (bit 0: sender is
 *   8  node u32  12  serial u32  16  incarnation u64  24  base u64    in a
 * view) 32  number u64: of the sender's view; INSTALL: of the view to be
 *
 *   ANNOUNCE  table
 *   INSTALL   origin of the view before (24), ring (12), table
 *   CONDEMN   ring (12), reason u8, count u16, (node u32, incarnation u64)…
 *   FENCED    node u32, incarnation u64
 *   REFUSE    node u32, pid u32, incarnation u64, text u16 length, bytes
 *   GOODBYE, BEAT   nothing      DATA  the rest
 *
 *   table     count u16, records: node u32, pid u32, incarnation u64, state u8,
 *             member u8, version_min u16, version_max u16, host 16 bytes,
 *             name u8 length, bytes; address u8 length, bytes.  Ascending.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_LOCKMGR_MEMBER_WIRE_H
#define LUNAR_LOCKMGR_MEMBER_WIRE_H

#include "lockmgr/member_table.h"

#define MEMBER_MESSAGES(X)                                                     \
    X(MSG_ANNOUNCE, "announce") /* here I am, and this is what I know */       \
    X(MSG_INSTALL, "install")   /* be this our view */                         \
    X(MSG_CONDEMN, "condemn")   /* these are out and must be fenced */         \
    X(MSG_FENCED, "fenced")     /* that one is fenced */                       \
    X(MSG_REFUSE, "refuse")     /* that process does not get in */             \
    X(MSG_GOODBYE, "goodbye")   /* I have given everything back */             \
    X(MSG_BEAT, "beat")         /* reactor 0 goes round */                     \
    X(MSG_DATA, "data")         /* of the layers above */

enum member_message_type {
#define X(type, name) type,
    MEMBER_MESSAGES(X)
#undef X
        MSG_TYPE_COUNT
};
const char *member_message_name(enum member_message_type type);

#define CONDEMN_REASONS(X)                                                     \
    X(CONDEMN_LOST, "left without a word")                                     \
    X(CONDEMN_SILENT, "its heartbeats stopped")                                \
    X(CONDEMN_ACCUSED, "it owes something for too long")

enum condemn_reason {
#define X(reason, text) reason,
    CONDEMN_REASONS(X)
#undef X
        CONDEMN_REASON_COUNT
};
const char *condemn_reason_text(enum condemn_reason reason);

struct member_ring { /* a ring of totem; no two are the same */
    uint32_t node;
    uint64_t seq;
};

/* Who proposed a view, and under which number: no two are the same. */
struct member_origin {
    uint32_t node;
    uint64_t incarnation, number;
};

struct member_who {
    uint32_t node;
    uint64_t incarnation;
};

enum { MEMBER_REFUSE_BYTES = 256 };

struct member_message {
    enum member_message_type type;
    bool in_view;
    struct member_who from;
    uint32_t serial;
    uint64_t base, number;
    struct member_origin before; /* INSTALL */
    struct member_ring ring;     /* INSTALL, CONDEMN */
    enum condemn_reason reason;  /* CONDEMN */
    unsigned who_count;          /* CONDEMN; FENCED and REFUSE: 1 */
    struct member_who who[MEMBER_RECORDS_MAX];
    uint32_t pid;                   /* REFUSE */
    char text[MEMBER_REFUSE_BYTES]; /* REFUSE */
    struct member_table table;      /* ANNOUNCE, INSTALL */
    const uint8_t *data;            /* DATA: inside the bytes */
    size_t data_count;
};

enum {
    MEMBER_HEADER_BYTES = 40,
    MEMBER_RECORD_BYTES_MAX =
        48 + MEMBER_NAME_BYTES + MEMBER_ADDRESS_BYTES, /* on the wire */
    /* the longest of all messages: a DATA, or a whole table */
    MEMBER_WIRE_BYTES_MAX = MEMBER_HEADER_BYTES + MEMBER_MESSAGE_BYTES_MAX
};
static_assert(MEMBER_HEADER_BYTES + 64 +
                      MEMBER_RECORDS_MAX * MEMBER_RECORD_BYTES_MAX <
                  MEMBER_WIRE_BYTES_MAX,
              "a table fits into a message");

/* Returns the bytes used of ret_bytes. */
size_t member_encode(const struct member_message *m,
                     uint8_t ret_bytes[MEMBER_WIRE_BYTES_MAX]);
/* Errors: E_PROTOCOL, E_VERSION; why = "announce: byte 57: …". */
MUST_CHECK enum err member_decode(const void *bytes, size_t count,
                                  struct member_message *ret_message,
                                  struct diag *why);
/* May this be announced?  Errors: E_INVAL, why = what is wrong with it. */
MUST_CHECK enum err member_id_check(const struct member_id *id,
                                    struct diag *why);

#endif
