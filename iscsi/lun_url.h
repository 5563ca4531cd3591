/* iscsi/lun_url.h - the parts of a LUN URL.  Pure; for lun*.c and tests.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef LUNAR_ISCSI_LUN_URL_H
#define LUNAR_ISCSI_LUN_URL_H

#include "base/err.h"

enum {
    LUN_URL_PATH_BYTES = 4096,      /* PATH_MAX */
    LUN_URL_HOST_BYTES = 256,       /* a DNS name */
    LUN_URL_TARGET_BYTES = 223 + 1, /* RFC 7143 4.2.7.1 */
    LUN_URL_SECRET_BYTES = 256,     /* RFC 7143 12.1: CHAP_N, CHAP_R */
    LUN_URL_LUN_MAX = 16383,        /* SAM-5 4.7: flat space addressing */
    ISCSI_PORT = 3260
};

enum lun_url_kind { LUN_URL_FILE, LUN_URL_ISCSI };

struct lun_url {
    enum lun_url_kind kind;
    char path[LUN_URL_PATH_BYTES];
    char host[LUN_URL_HOST_BYTES]; /* IPv6: without brackets */
    uint16_t port;
    char target[LUN_URL_TARGET_BYTES];
    uint32_t lun;
    char user[LUN_URL_SECRET_BYTES], password[LUN_URL_SECRET_BYTES];
    char target_user[LUN_URL_SECRET_BYTES];
    char target_password[LUN_URL_SECRET_BYTES];
};

/* Errors: E_URL; `why` never shows a secret. */
MUST_CHECK enum err lun_url_parse(const char *text, struct diag *why,
                                  struct lun_url *ret_url);
/* The URL without user and secrets, for people. */
enum { LUN_URL_TEXT_BYTES = LUN_URL_PATH_BYTES + 16 };
void lun_url_to_text(const struct lun_url *url, char out[LUN_URL_TEXT_BYTES]);

#endif
