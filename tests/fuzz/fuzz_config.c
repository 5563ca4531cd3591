/* tests/fuzz/fuzz_config.c - any text as lunar.conf.
 * SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lunard/config.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = calloc(1, size + 1);
    struct config config;
    struct diag why = {0};
    enum err e;

    memcpy(text, data, size);
    e = config_parse("f", text, &config, &why);
    ASSERT(e ? *why.text == 'f' : *config.root == '/');
    ASSERT(e || !config.corosync || *config.listen);
    free(text);
    return 0;
}
