/* tests/fuzz/fuzz_lun_url.c - what is accepted as a LUN URL, shown and read
 * again, is the same LUN.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "iscsi/lun_url.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct lun_url url, again;
    static char shown[LUN_URL_TEXT_BYTES];
    AUTO(freep) char *text = calloc(1, size + 1);
    struct diag why = {""};

    if (!text)
        return 0;
    memcpy(text, data, size);
    if (lun_url_parse(text, &why, &url) != E_OK) {
        ASSERT(why.text[0]);
        return 0;
    }
    lun_url_to_text(&url, shown);
    ASSERT(lun_url_parse(shown, &why, &again) == E_OK);
    ASSERT(again.kind == url.kind);
    ASSERT(strcmp(again.path, url.path) == 0);
    ASSERT(strcmp(again.host, url.host) == 0);
    ASSERT(strcmp(again.target, url.target) == 0);
    ASSERT(again.port == url.port);
    ASSERT(again.lun == url.lun);
    return 0;
}
